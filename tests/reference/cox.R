# Reference values for tests/training/estimators/test_cox.py.
#   Rscript tests/reference/cox.R > tests/reference/cox.json
library(survival)
library(jsonlite)

set.seed(20240301)
control <- coxph.control(eps = 1e-13, toler.chol = 1e-15, iter.max = 200, outer.max = 50)

# digits: decimals of the time; 0 of times 1 to 6 makes ties of dozens of events.
draw <- function(n, digits, scale) {
  x <- round(matrix(rnorm(n * 4), n) + rnorm(n) * 0.4, 4)
  death <- rexp(n, scale * exp(x %*% c(0.7, -0.5, 0.2, 0)))
  left <- runif(n, 1, 3 / scale)
  list(x = x, time = round(pmin(death, left), digits) + 1, event = death <= left)
}

# One penalty for the first two columns and one for the others: 1/2 theta beta^2 each.
fitted <- function(d, thetas) {
  a <- d$x[, 1:2]
  b <- d$x[, 3:4]
  fit <- coxph(
    Surv(d$time, d$event) ~ ridge(a, theta = thetas[1], scale = FALSE) +
      ridge(b, theta = thetas[2], scale = FALSE),
    ties = "efron", control = control
  )
  list(penalty = rep(thetas, each = 2), beta = unname(coef(fit)))
}

# Unpenalised: the partial likelihood, its gradient's root and its information.
plain <- function(d) {
  fit <- coxph(Surv(d$time, d$event) ~ d$x, ties = "efron", control = control)
  list(
    beta = unname(coef(fit)), null = fit$loglik[1], value = fit$loglik[2],
    information = unname(solve(vcov(fit)))
  )
}

case <- function(n, digits, scale) {
  d <- draw(n, digits, scale)
  c(d, list(ridge = list(fitted(d, c(2, 2)), fitted(d, c(0.5, 8)), fitted(d, c(60, 200))), plain = plain(d)))
}

out <- list(
  versions = list(R = R.version$version.string, survival = as.character(packageVersion("survival"))),
  distinct = case(60, 6, 0.03),
  tied = case(90, 0, 0.03),
  heavy_ties = case(150, 0, 0.5)
)
cat(toJSON(out, auto_unbox = TRUE, digits = NA, pretty = 1), "\n")
