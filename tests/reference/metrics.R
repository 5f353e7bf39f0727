# Reference values for tests/training/metrics and tests/training/estimators.
#   Rscript tests/reference/metrics.R > tests/reference/metrics.json
library(survival)
library(jsonlite)

set.seed(20240229)

draw <- function(n, digits, risk_digits) {
  risk <- round(rnorm(n), risk_digits)
  death <- rexp(n, 0.03 * exp(0.7 * risk))
  left <- runif(n, 4, 80)
  list(time = round(pmin(death, left), digits) + 1, event = death <= left, risk = risk)
}

curve <- function(d) {
  fit <- survfit(Surv(time, event) ~ 1, data = d, conf.type = "log-log")
  at <- c(3, 12, 24, 36.5)
  s <- summary(fit, times = at)
  list(times = at, survival = s$surv, low = s$lower, high = s$upper)
}

harrell <- function(d, sign = 1) {
  x <- sign * d$risk
  unname(concordance(Surv(d$time, d$event) ~ x, reverse = TRUE)$concordance)
}

tied <- draw(60, 0, 1)
distinct <- draw(80, 6, 6)
stopifnot(!anyDuplicated(distinct$time), anyDuplicated(tied$time) > 0)

# With distinct times, the censoring curve of survfit equals that of the metrics.
y <- Surv(distinct$time, distinct$event)
uno <- concordance(y ~ distinct$risk, reverse = TRUE, timewt = "n/G2")$concordance
uno_tau <- concordance(y ~ distinct$risk, reverse = TRUE, timewt = "n/G2", ymax = 36)$concordance

# Calibration at a horizon: binomial regression with complementary log-log link and inverse
# censoring weights, on predictions that are too extreme by the factor 1.4.
horizon <- 36
predicted <- exp(-0.03 * horizon * exp(1.4 * 0.7 * distinct$risk))
g <- survfit(Surv(time, !event) ~ 1, data = distinct)
G <- stepfun(g$time, c(1, g$surv))
case <- distinct$event & distinct$time <= horizon
known <- case | distinct$time > horizon
frame <- data.frame(
  case = as.numeric(case), x = log(-log(predicted)),
  w = 1 / G(pmin(distinct$time, horizon))
)[known, ]
control <- glm.control(epsilon = 1e-14, maxit = 200)
link <- quasibinomial(link = "cloglog")
slope <- coef(glm(case ~ x, link, frame, weights = w, control = control))[["x"]]
intercept <- coef(glm(case ~ 1 + offset(x), link, frame, weights = w, control = control))[[1]]

# The same on other patients, also with tied times, where events leave before those censored then.
later <- 1e-4
calibrated <- lapply(seq_len(6), function(k) {
  d <- draw(50 + 15 * k, if (k %% 2) 6 else 0, 1)
  at <- 12 + 5 * k
  said <- exp(-0.03 * at * exp(0.2 + c(0.3, 0.7, 1.2)[k %% 3 + 1] * d$risk))
  g <- survfit(Surv(time + ifelse(event, 0, later), !event) ~ 1, data = d)
  G <- stepfun(g$time, c(1, g$surv))
  case <- d$event & d$time <= at
  known <- case | d$time > at
  frame <- data.frame(
    case = as.numeric(case), x = log(-log(said)), w = 1 / G(pmin(d$time, at) + later)
  )[known, ]
  list(
    event = d$event, time = d$time, risk = d$risk, predicted = said, horizon = at,
    slope = coef(glm(case ~ x, link, frame, weights = w, control = control))[["x"]],
    intercept = coef(glm(case ~ 1 + offset(x), link, frame, weights = w, control = control))[[1]],
    harrell_c = harrell(d), kaplan_meier = curve(d)
  )
})

out <- list(
  versions = list(R = R.version$version.string, survival = as.character(packageVersion("survival"))),
  tied = c(tied, list(kaplan_meier = curve(tied), harrell_c = harrell(tied))),
  distinct = c(distinct, list(
    kaplan_meier = curve(distinct), harrell_c = harrell(distinct),
    uno_c = unname(uno), tau = 36, uno_c_tau = unname(uno_tau),
    horizon = horizon, predicted = predicted, slope = slope, intercept = intercept
  )),
  calibrated = calibrated,
  chi_square = list(
    statistic = c(0.1, 3, 9, 16.9, 60), degrees = c(1, 2, 9, 9, 4),
    tail = pchisq(c(0.1, 3, 9, 16.9, 60), c(1, 2, 9, 9, 4), lower.tail = FALSE)
  )
)
cat(toJSON(out, auto_unbox = TRUE, digits = NA, pretty = 1), "\n")
