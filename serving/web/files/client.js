// Requests to this server. The token lives in this module's memory and nowhere else.

let token = "", model = "";

/** A request that was not answered; `details` name the places that are wrong. */
export class Refused extends Error {
  constructor(status, message, details = []) {
    super(message);
    this.status = status;
    this.details = details;
  }
}

export const useToken = (given) => { token = given.trim(); };

/** The bundle that the form was made of: answers of another one are refused with `MOVED`. */
export const useModel = (digest) => { model = digest; };
export const MOVED = -1;

/** GET a path below the server's root, or POST a body to it; JSON, or text as `text`. */
export async function ask(path, { body, signal, as = "json" } = {}) {
  const headers = { ...(token && { Authorization: `Bearer ${token}` }) };
  if (body) headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(new URL(`../${path}`, document.baseURI), {
      method: body ? "POST" : "GET",
      headers,
      body: body && JSON.stringify(body),
      signal,
      cache: "no-store",
      credentials: "omit",
    });
    if (answer.ok) {
      const found = await answer[as]();
      if (found.model && found.model.digest !== model) throw new Refused(MOVED, "Another version of the model answers now. What you entered was kept: ask again.");
      return found;
    }
  } catch (error) {
    if (error.name === "AbortError" || error instanceof Refused) throw error;
    throw new Refused(0, "The server cannot be reached. Check the connection and try again.");
  }
  const said = (await answer.json().catch(() => ({}))).error ?? {};
  throw new Refused(answer.status, words(answer.status, said.message), said.details);
}

function words(status, message) {
  if (status === 429) return "The server is busy. Wait a moment and try again.";
  if (status === 401) return "That token is not known.";
  if (status === 503) return "The server is not ready yet. Try again in a moment.";
  if (status >= 500) return "The server failed to answer. Its log says where; try again or tell who runs it.";
  return message ? message[0].toUpperCase() + message.slice(1) : `The server refused (${status}).`;
}

/** The answers to one patient with a feature set to each of some values. */
export async function whatIf(patient, feature, values, signal) {
  const body = { patient, feature, values };
  return (await ask("what_if", { body, signal })).answers;
}
