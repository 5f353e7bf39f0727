// Swagger UI, which BentoML brings along, on this server's own description of its endpoint.
const access = document.querySelector("#access");
let token = "";

async function show() {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const answer = await fetch("docs.json", { headers });
  access.hidden = answer.status !== 401;
  if (!answer.ok) return;
  window.SwaggerUIBundle({
    spec: await answer.json(),
    dom_id: "#swagger-ui",
    requestInterceptor: (request) => {
      Object.assign(request.headers, headers);
      return request;
    },
  });
}

access.addEventListener("submit", (event) => {
  event.preventDefault();
  token = access.querySelector("input").value.trim();
  show();
});
show();
