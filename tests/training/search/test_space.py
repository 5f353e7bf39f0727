"""The search space: parts that trials change in turn, as far as the settings given."""

from __future__ import annotations

import optuna
import pytest
from optuna.trial import FixedTrial

from accomplice.training.config import configure, flat, with_settings
from accomplice.training.search.space import (
    KEYS,
    PART,
    SPACE,
    defaults,
    part_of_trial,
    suggest,
)

#: Learners that a trial may do without.
SWITCHES = [key for key in KEYS if key.endswith(".use")]


def asked(study, config):
    trial = study.ask()
    return trial, suggest(trial, config)


@pytest.fixture
def study():
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))


def test_every_key_is_a_setting_and_in_reach():
    for key in KEYS:
        limits, usual = SPACE[PART[key]][key], flat(configure())[key]
        if limits is None:
            assert usual in (True, False)
            continue
        if isinstance(limits, list):
            assert usual in limits
            assert [flat(with_settings(configure(), {key: v}))[key] for v in limits] == limits
            continue
        assert limits[0] <= usual <= limits[1], key
        for value in limits:
            value = int(value) if isinstance(usual, int) else value
            assert flat(with_settings(configure(), {key: value}))[key] == value


def test_reaches_as_far_as_the_settings_given(study):
    base = configure(["net.weight_decay=50.0", "net.hidden_width=4", "stack.equal=0"])
    study.enqueue_trial(defaults(base))
    trial, drawn = asked(study, base)
    assert drawn == base
    edges = trial.distributions["net.weight_decay"]
    assert (edges.low, edges.high) == (SPACE["net"]["net.weight_decay"][0], 50.0)
    assert trial.distributions["net.hidden_width"].low == 4
    # A range with 0 has no logarithm.
    assert trial.distributions["stack.equal"].low == 0
    assert not trial.distributions["stack.equal"].log


def test_draws_only_what_is_searched(study):
    base = configure(["net.members=3", "evaluation.bootstraps=7"])
    for _ in range(20):
        _, drawn = asked(study, base)
        changed = {key for key, value in flat(drawn).items() if value != flat(base)[key]}
        assert changed <= {*KEYS}


@pytest.mark.parametrize("switch", SWITCHES)
def test_settings_of_a_learner_that_is_not_used_are_absent(study, switch):
    part, absent = PART[switch], {key for key in SPACE[PART[switch]] if key != switch}
    assert absent
    seen = set()
    for _ in range(30):
        trial, drawn = asked(study, configure())
        used = flat(drawn)[switch]
        seen.add(used)
        given = {key for key in trial.params if PART[key] == part}
        assert given == ({switch, *absent} if used else {switch})
        if not used:
            assert {key: flat(drawn)[key] for key in absent} == {
                key: flat(configure())[key] for key in absent
            }
    assert seen == {True, False}


@pytest.mark.parametrize("switch", SWITCHES)
def test_defaults_without_a_learner_are_a_trial_of_their_own(switch):
    base = configure([f"{switch}=false"])
    params = defaults(base)
    assert params[switch] is False
    assert {key for key in params if PART[key] == PART[switch]} == {switch}
    assert suggest(FixedTrial(params), base) == base
    assert defaults(configure()).keys() == {*KEYS}


def test_trials_take_turns_at_the_parts():
    turns = [part_of_trial(number) for number in range(2 * len(SPACE))]
    assert turns == [*SPACE, *SPACE]
