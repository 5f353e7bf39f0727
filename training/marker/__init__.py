"""A marker's report: association, cutpoints, added value, interaction with treatment."""
