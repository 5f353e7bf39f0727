# Reference values for tests/training/treatment/test_effect.py.
#   Rscript tests/reference/effect.R > tests/reference/effect.json
# A piecewise-exponential model is a Poisson model of the events, with the log of the hazard gathered
# as offset.
library(jsonlite)

set.seed(20240315)
control <- glm.control(epsilon = 1e-15, maxit = 100)

case <- function(n, theta, rate) {
  x <- round(cbind(rnorm(n), rnorm(n), 1, rnorm(n, sd = 0.5)), 4)
  offset <- round(log(rexp(n) * rate), 4)
  event <- as.numeric(runif(n) < 1 - exp(-exp(offset + x %*% theta)))
  fit <- glm(event ~ x - 1 + offset(offset), family = poisson, control = control)
  list(x = x, offset = offset, event = event, theta = unname(coef(fit)), covariance = unname(vcov(fit)))
}

out <- list(
  version = R.version$version.string,
  usual = case(120, c(-0.6, 0.3, 0.1, 0.2), 0.7),
  rare = case(150, c(-0.2, 0.0, 0.0, 0.1), 0.15),
  strong = case(120, c(2.5, -1.5, -0.5, 1.0), 0.5)
)
cat(toJSON(out, auto_unbox = TRUE, digits = NA, pretty = 1), "\n")
