# Reference values for tests/training/estimators/test_hazard_ratios.py and test_proportional_hazards.py.
#   Rscript tests/reference/effects.R > tests/reference/effects.json
library(survival)
library(metafor)
library(jsonlite)

set.seed(20240611)
control <- coxph.control(eps = 1e-13, toler.chol = 1e-15, iter.max = 200, outer.max = 50)

# The first column's effect fades with time; digits 0 makes ties.
draw <- function(n, digits) {
  x <- round(matrix(rnorm(n * 3), n), 4)
  death <- rexp(n, 0.03 * exp(x %*% c(0.5, -0.4, 0.1)))
  late <- death > 12
  death[late] <- 12 + rexp(sum(late), 0.03 * exp(x[late, ] %*% c(-0.4, -0.4, 0.1)))
  left <- runif(n, 5, 90)
  list(x = x, time = round(pmin(death, left), digits) + 1, event = death <= left)
}

ratio <- function(fit, i = 1) {
  list(log = unname(coef(fit)[i]), se = sqrt(fit$var[i, i]))
}

case <- function(n, digits) {
  d <- draw(n, digits)
  y <- Surv(d$time, d$event)
  plain <- coxph(y ~ d$x, ties = "efron", control = control)
  others <- d$x[, 2:3]
  weak <- coxph(y ~ d$x[, 1] + ridge(others, theta = 1, scale = FALSE), ties = "efron", control = control)
  zph <- cox.zph(plain, transform = "km", terms = FALSE, global = FALSE)
  c(d, list(
    plain = lapply(1:3, function(i) ratio(plain, i)),
    contrast = list(
      log = unname(coef(plain)[1] - coef(plain)[2]),
      se = sqrt(sum(c(1, -1, 0) * (plain$var %*% c(1, -1, 0))))
    ),
    weak = ratio(weak),
    zph = list(statistic = unname(zph$table[, "chisq"]), p = unname(zph$table[, "p"]))
  ))
}

# The function of Gelman and Carlin (2014) by numerical integration in place of simulation.
retrodesign <- function(plausible, se) {
  a <- log(plausible)
  z <- qnorm(0.975)
  density <- function(e) dnorm(e, a, se)
  above <- integrate(density, z * se, a + 40 * se, rel.tol = 1e-10)$value
  below <- integrate(density, a - 40 * se, -z * se, rel.tol = 1e-10)$value
  size <- function(e) abs(e) * density(e)
  mean <- integrate(size, z * se, a + 40 * se, rel.tol = 1e-10)$value +
    integrate(size, a - 40 * se, -z * se, rel.tol = 1e-10)$value
  list(
    plausible = plausible, se = se, power = above + below,
    type_s = below / (above + below), type_m = mean / (above + below) / a
  )
}

pooled <- function(log, se) {
  fit <- rma(yi = log, sei = se, method = "DL")
  list(
    log = log, se = se, pooled = as.numeric(fit$beta), pooled_se = fit$se,
    between = sqrt(fit$tau2), inconsistency = fit$I2 / 100, p = fit$QEp
  )
}

out <- list(
  versions = list(
    R = R.version$version.string, survival = as.character(packageVersion("survival")),
    metafor = as.character(packageVersion("metafor"))
  ),
  distinct = case(120, 6),
  tied = case(150, 0),
  designs = list(retrodesign(1.55, 0.35), retrodesign(1.1, 0.5), retrodesign(3, 0.2)),
  pools = list(
    pooled(c(0.1, 0.5, -0.2, 0.9), c(0.2, 0.25, 0.15, 0.3)),
    pooled(c(0.3, 0.31, 0.29), c(0.2, 0.3, 0.25))
  )
)
cat(toJSON(out, auto_unbox = TRUE, digits = NA, pretty = 1), "\n")
