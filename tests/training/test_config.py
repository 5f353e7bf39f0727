"""The configuration and ``--set key=value``."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accomplice.data.errors import InputError
from accomplice.training.config import Config, configure, flat, known_keys

untimed = settings(deadline=None)


class TestSettings:
    def test_without_any_it_is_the_defaults(self):
        assert configure() == Config()

    @untimed
    @given(
        members=st.integers(1, 99),
        rate=st.floats(1e-6, 1),
        seed=st.integers(0, 2**31 - 1),
        endpoint=st.none() | st.sampled_from(["os", "dfs"]),
    )
    def test_what_is_set_is_what_is_got_and_nothing_else_changes(
        self, members, rate, seed, endpoint
    ):
        asked = {
            "net.members": members,
            "net.learning_rate": rate,
            "seed": seed,
            "endpoint": endpoint,
        }
        settings_ = [f"{k}={'null' if v is None else v}" for k, v in asked.items()]
        assert flat(configure(settings_)) == flat(Config()) | asked

    def test_the_last_of_two_wins_and_a_base_is_kept(self):
        base = configure(["net.members=3", "seed=5"])
        found = configure(["net.members=6", "net.members=7"], base)
        assert (found.net.members, found.seed) == (7, 5)
        assert base.net.members == 3

    def test_lists_are_read(self):
        found = configure(["anchor.marker_penalties=[1, 2.5]"])
        assert found.anchor.marker_penalties == (1.0, 2.5)

    @pytest.mark.parametrize(
        ("setting", "said"),
        [
            ("net.member=3", r"--set net\.member: unknown key; did you mean 'net\.members'\?"),
            ("net.Learning_Rate=3", r"unknown key; did you mean 'net\.learning_rate'\?"),
            ("sed=3", r"--set sed: unknown key; did you mean 'seed'\?"),
            ("zzzzzz=3", r"--set zzzzzz: unknown key$"),
            ("net={members: 3}", r"--set net: unknown key; did you mean 'net\.members'\?$"),
            ("net.members", r"write key=value, for instance net\.members=16"),
            ("net.members=many", r"--set net\.members: .*integer.*got 'many'"),
            ("net.members=0", r"--set net\.members: .*greater than or equal to 1.*got 0"),
            ("net.members=2.5", r"--set net\.members: .*got 2\.5"),
            ("net.dropout=1", r"--set net\.dropout: .*less than 1"),
            ("net.learning_rate=-0.1", r"--set net\.learning_rate: .*greater than 0"),
            ("net.learning_rate=.nan", r"--set net\.learning_rate: "),
            ("net.learning_rate=.inf", r"--set net\.learning_rate: "),
            ("net.learning_rate=", r"--set net\.learning_rate: "),
            ("folds.folds=1", r"--set folds\.folds: .*greater than or equal to 2"),
            ("trainer.accelerator=abacus", r"--set trainer\.accelerator: .*'cpu'.*got 'abacus'"),
            ("net.members=[", r"--set net\.members: the value is not readable"),
        ],
    )
    def test_wrong_setting_is_refused_in_one_line(self, setting, said):
        with pytest.raises(InputError) as caught:
            configure([setting])
        assert re.search(said, str(caught.value)), str(caught.value)
        assert "\n" not in str(caught.value)

    def test_value_may_hold_an_equals_sign(self):
        with pytest.raises(InputError, match="got 'a=b'"):
            configure(["net.members=a=b"])

    def test_configuration_cannot_be_changed(self):
        with pytest.raises(ValueError, match="frozen"):
            Config().net.members = 3


class TestKeys:
    def test_flat_and_known_keys_are_the_same(self):
        assert list(flat(Config())) == list(known_keys())

    def test_every_key_is_explained(self):
        for key, meaning in known_keys().items():
            assert meaning.strip().endswith("."), key

    def test_every_key_can_be_set_to_its_own_value(self):
        for key, value in flat(Config()).items():
            text = "null" if value is None else list(value) if isinstance(value, tuple) else value
            assert configure([f"{key}={text}"]) == Config(), key

    def test_every_run_has_the_same_keys(self):
        assert flat(configure(["net.members=3", "endpoint=os"])).keys() == flat(Config()).keys()
