"""The packed network: replicas that know nothing of each other, tokens, dropout, learning."""

from __future__ import annotations

import os
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from accomplice.training.config import configure
from accomplice.training.learners.network.batches import TRAINS, VALIDATES, Batches, PackedData
from accomplice.training.learners.network.dropout import Dropout
from accomplice.training.learners.network.inference import fold_axis
from accomplice.training.learners.network.lightning import PackedHazard, train_net
from accomplice.training.learners.network.losses import hazard_nll
from accomplice.training.learners.network.model import NetShape, PackedNet, Share
from tests.fixtures.plain_net import PlainNet

SHAPE = NetShape(folds=3, members=2, modalities=(4, 3, 2), bins=5, encoder_width=6, hidden_width=8)
ROWS = 11


def inputs(n=ROWS, seed=0, shape=SHAPE):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(shape.folds, shape.inputs, n, generator=generator)
    present = (torch.rand(len(shape.modalities), n, generator=generator) < 0.7).float()
    present = present.expand(shape.folds, -1, -1).clone()
    owner = [j for j, size in enumerate(shape.modalities) for _ in range(size)]
    return x * present[:, owner], present


def outcomes(n=ROWS, seed=1, shape=SHAPE):
    """Exposure and event (folds, 1, bins, n) of patients followed to the end of a random bin."""
    generator = np.random.default_rng(seed)
    last, event = generator.integers(0, shape.bins, n), generator.random(n) < 0.6
    exposure = np.arange(shape.bins)[:, None] <= last
    marks = (np.arange(shape.bins)[:, None] == last) & event
    return tuple(
        torch.from_numpy(a.astype(np.float32)).repeat(shape.folds, 1, 1, 1)
        for a in (exposure, marks)
    )


def scrambled(shape=SHAPE, seed=3, **changed):
    """A network none of whose parameters is at the zero it starts from."""
    net = PackedNet(shape, seed=seed, **changed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.3 * torch.randn(p.shape, generator=generator))
    return net


def of_fold(name, tensor, k, shape=SHAPE):
    """The share of a parameter, or of its gradient, that belongs to fold k."""
    axis = fold_axis(name)
    return tensor.chunk(shape.folds, dim=axis)[k]


def packed(n=ROWS, shape=SHAPE):
    """Training data of made-up patients, each fold holding out another third of them."""
    x, present = inputs(n, shape=shape)
    exposure, event = outcomes(n, shape=shape)
    role = torch.zeros(shape.folds, shape.members, n, dtype=torch.int8)
    for k in range(shape.folds):
        for i in range(n):
            for m in range(shape.members):
                if i % 3 != k:
                    role[k, m, i] = VALIDATES if i % 5 == m else TRAINS
    last = (exposure.sum(2)[:, 0] - 1).to(torch.uint8)
    return PackedData(
        Given(x, present),
        shape.bins,
        last,
        torch.ones(last.shape),
        event.sum(2)[:, 0] > 0,
        role,
    )


@dataclass(frozen=True)
class Given:
    """Inputs that are in memory already."""

    x: torch.Tensor
    present: torch.Tensor

    def __call__(self, rows):
        fold = torch.arange(len(rows))[:, None]
        rows = torch.from_numpy(rows)
        return self.x.mT[fold, rows].mT, self.present.mT[fold, rows].mT


class TestForward:
    def test_gives_log_odds_by_fold_member_patient_and_bin(self):
        assert scrambled()(*inputs()).shape == (3, 2, ROWS, 5)

    @pytest.mark.parametrize("modalities", [(4,), (1, 1), (5, 2, 2, 1)])
    def test_takes_any_number_of_modalities(self, modalities):
        shape = NetShape(2, 3, modalities, 4, 4, 6)
        found = scrambled(shape)(*inputs(shape=shape))
        assert found.shape == (2, 3, ROWS, 4)
        assert torch.isfinite(found).all()

    def test_starts_at_the_base_rate(self):
        base_rate = torch.randn(3, 5)
        net = PackedNet(SHAPE, base_rate=base_rate)
        found = net.eval()(torch.zeros(3, 9, 1), torch.ones(3, 3, 1))
        torch.testing.assert_close(found, base_rate[:, None, None].expand_as(found))

    def test_members_differ(self):
        found = scrambled()(*inputs())
        assert (found[:, 0] - found[:, 1]).abs().min() > 0

    def test_patients_do_not_look_at_each_other(self):
        net, (x, present) = scrambled().eval(), inputs()
        whole = net(x, present)
        alone = torch.cat([net(x[..., [i]], present[..., [i]]) for i in range(ROWS)], dim=2)
        torch.testing.assert_close(whole, alone, rtol=1e-5, atol=1e-6)

    def test_is_deterministic_when_predicting(self):
        net = scrambled(dropout=0.5, modality_dropout=0.5).eval()
        assert torch.equal(net(*inputs()), net(*inputs()))

    def test_is_random_while_training(self):
        for changed in ({"dropout": 0.5}, {"modality_dropout": 0.5}):
            net = scrambled(**changed).train()
            assert not torch.equal(net(*inputs()), net(*inputs()))

    def test_same_seed_gives_the_same_network_and_masks(self):
        made = []
        for _ in range(2):
            net = PackedNet(SHAPE, dropout=0.4, modality_dropout=0.2, seed=9).train()
            made.append([*net.parameters(), net(*inputs())])
        assert all(torch.equal(a, b) for a, b in zip(*made, strict=True))


class TestReplicas:
    """What one fold sees, or learns, must not reach another by a single bit."""

    @pytest.mark.parametrize("changed", range(3))
    @pytest.mark.parametrize("training", [False, True])
    def test_other_inputs_in_one_fold_leave_the_others_outputs_and_gradients(
        self, changed, training
    ):
        exposure, event = outcomes()
        seen = []
        for factor in (1.0, 17.0):
            net = scrambled(dropout=0.3, modality_dropout=0.2).train(training)
            x, present = inputs()
            x[changed] = x[changed] * factor + (factor - 1)
            logits = net(x, present)
            weight = torch.ones(3, 2, ROWS)
            hazard_nll(logits.mT, exposure, event, weight).backward()
            gradients = {name: p.grad for name, p in net.named_parameters()}
            seen.append((logits.detach(), gradients))
        (before, slopes), (after, moved) = seen
        for k in range(3):
            assert torch.equal(before[k], after[k]) == (k != changed)
            for name, slope in slopes.items():
                same = torch.equal(of_fold(name, slope, k), of_fold(name, moved[name], k))
                assert same or k == changed, name
        assert any(
            not torch.equal(of_fold(n, g, changed), of_fold(n, moved[n], changed))
            for n, g in slopes.items()
        )

    def test_every_parameter_of_a_fold_gets_a_gradient_from_that_fold_alone(self):
        net, (x, present) = scrambled().train(), inputs()
        net(x, present)[1].square().sum().backward()
        for name, p in net.named_parameters():
            for k in range(3):
                reached = of_fold(name, p.grad, k).abs().sum() > 0
                assert reached == (k == 1), (name, k)

    def test_member_learns_from_its_own_loss_alone(self):
        net, (x, present) = scrambled().train(), inputs()
        net(x, present)[0, 0].square().sum().backward()
        # Parameters with a row for each fold and member.
        for name in ("fuse", "fuse_bias", "hazard", "hazard_bias"):
            grad = dict(net.named_parameters())[name].grad
            assert grad[0].abs().sum() > 0
            assert (grad[1:] == 0).all()


class TestMissing:
    def test_missing_modality_is_its_token_and_not_its_encoder(self):
        net, (x, _) = scrambled().eval(), inputs()
        x[:, 4:7] = 0.0
        gone = torch.ones(3, 3, ROWS)
        gone[:, 1] = 0.0
        before, known = net(x, gone), net(x, torch.ones(3, 3, ROWS))
        assert not torch.allclose(before, known)
        with torch.no_grad():
            net.encode[1] += 1.0
            net.encode_bias[1] += 1.0
        assert torch.equal(net(x, gone), before)
        assert not torch.allclose(net(x, torch.ones(3, 3, ROWS)), known)
        with torch.no_grad():
            net.token[1] += 1.0
        assert not torch.allclose(net(x, gone), before)

    def test_encoder_learns_nothing_from_patients_without_the_modality(self):
        net, (x, _) = scrambled().train(), inputs()
        present = torch.ones(3, 3, ROWS)
        present[:, 1] = 0.0
        x[:, 4:7] = 0.0
        net(x, present).square().sum().backward()
        assert (net.encode[1].grad == 0).all()
        assert (net.encode_bias.grad[1] == 0).all()
        assert (net.token.grad[1] != 0).any()
        assert (net.token.grad[0] == 0).all()

    def test_withheld_modality_looks_as_a_missing_one_does(self):
        net, (x, _) = scrambled(modality_dropout=1.0).train(), inputs()
        withheld = net(x, torch.ones(3, 3, ROWS))
        missing = net.eval()(torch.zeros_like(x), torch.zeros(3, 3, ROWS))
        torch.testing.assert_close(withheld, missing)


class TestPasses:
    """The passes written out against the same formulas in plain torch."""

    @pytest.mark.parametrize("modalities", [(4, 3, 2), (4,)])
    @pytest.mark.parametrize("withheld", [0.0, 1.0])
    def test_output_and_gradients_equal_those_of_automatic_differentiation(
        self, modalities, withheld
    ):
        shape = NetShape(3, 2, modalities, 5, 6, 8)
        x, present = inputs(shape=shape)
        # What is said of a missing modality must not count.
        x = x + 1
        slope = torch.randn(3, 2, ROWS, 5)
        ours = scrambled(shape, modality_dropout=withheld).train().double()
        plain = PlainNet(shape, modality_dropout=withheld).train().double()
        plain.load_state_dict(ours.state_dict())
        for net in (ours, plain):
            (net(x.double(), present.double()) * slope).sum().backward()
        torch.testing.assert_close(
            ours(x.double(), present.double()), plain(x.double(), present.double())
        )
        for (name, p), (_, q) in zip(
            ours.named_parameters(), plain.named_parameters(), strict=True
        ):
            assert (p.grad is None) == (q.grad is None), name
            if p.grad is not None:
                torch.testing.assert_close(p.grad, q.grad, msg=name)

    def test_dropout_has_the_gradient_of_its_masks(self):
        # The masks are drawn anew a step; with the generator put back they are the same.
        net, (x, present) = scrambled(dropout=0.4).train().double(), inputs()
        net(x.double(), present.double())  # fills the pool
        state = net.generator.get_state()

        def loss():
            net.generator.set_state(state)
            return net(x.double(), present.double()).sin().sum()

        loss().backward()
        for name, p in net.named_parameters():
            flat, slope = p.data.view(-1), p.grad.reshape(-1)
            for i in range(0, len(flat), max(len(flat) // 5, 1)):
                kept, found = flat[i].item(), []
                for step in (1e-6, -1e-6):
                    flat[i] = kept + step
                    found.append(loss().item())
                flat[i] = kept
                measured = (found[0] - found[1]) / 2e-6
                assert slope[i].item() == pytest.approx(measured, abs=1e-4, rel=1e-4), name

    def test_dropout_keeps_the_mean_of_what_is_linear(self):
        net, (x, present) = scrambled(dropout=0.5), inputs()
        with torch.no_grad():
            # A first layer that is positive throughout leaves nothing for ReLU to cut.
            net.fuse_bias += 1e3
            still = net.eval()(x, present)
            noisy = torch.stack([net.train()(x, present) for _ in range(400)])
        spread = noisy.std(0) / 20
        assert ((noisy.mean(0) - still).abs() < 5 * spread).all()
        assert (spread > 0).all()


class TestDropout:
    def test_silences_its_share(self):
        drop = Dropout(0.3, torch.Generator().manual_seed(0))
        found = torch.cat([drop.draw(1000, device=torch.device("cpu")) for _ in range(20)])
        assert (found == 0).float().mean() == pytest.approx(0.3, abs=0.02)
        assert found.unique().tolist() == [0.0, torch.inf]

    def test_masks_differ_from_step_to_step(self):
        drop, cpu = Dropout(0.5, torch.Generator().manual_seed(0)), torch.device("cpu")
        assert not torch.equal(drop.draw(100, device=cpu), drop.draw(100, device=cpu))

    def test_grows_with_larger_inputs(self):
        drop, cpu = Dropout(0.5, torch.Generator().manual_seed(0)), torch.device("cpu")
        assert drop.draw(3, device=cpu).shape == (3,)
        assert drop.draw(300, 100, device=cpu).shape == (300, 100)

    def test_does_nothing_without_a_share(self):
        net = scrambled()
        assert torch.equal(net.train()(*inputs()), net.eval()(*inputs()))


class TestLearning:
    def test_learns_32_patients_by_heart(self):
        shape = NetShape(2, 2, (6, 4), 4, 16, 32)
        # All modalities known: patients with none would be one and the same.
        x = torch.randn(2, 10, 32, generator=torch.Generator().manual_seed(1))
        present = torch.ones(2, 2, 32)
        # Each of them dies in a bin of their own luck: nothing to generalise, all to remember.
        place = torch.randint(0, 4, (32,), generator=torch.Generator().manual_seed(5))
        event = torch.nn.functional.one_hot(place, 4).float().T.expand(2, 1, 4, 32)
        exposure = (torch.arange(4)[:, None] <= place).float().expand(2, 1, 4, 32)
        net = PackedNet(shape, seed=0).train()
        optimiser = torch.optim.Adam(net.parameters(), lr=0.03)
        weight = torch.ones(2, 2, 32) / 32
        for _ in range(500):
            optimiser.zero_grad()
            loss = hazard_nll(net(x, present).mT, exposure, event, weight)
            loss.backward()
            optimiser.step()
        assert loss.item() / 4 < 0.01  # two folds of two members
        hazard = torch.sigmoid(net.eval()(x, present))
        assert (hazard[:, :, torch.arange(32), place] > 0.95).all()


class TestTraining:
    def fit(self, *settings_, data=None, seed=4):
        data = packed(60) if data is None else data
        config = configure(["net.steps_per_epoch=4", *settings_])
        net = PackedNet(SHAPE, config.net.dropout, config.net.modality_dropout, seed=seed)
        return net, train_net(net, data, config.net, config.trainer, seed)

    def test_lowers_the_validation_loss(self):
        net, module = self.fit("net.max_epochs=5", "net.learning_rate=0.01")
        history = np.array(module.history)
        assert history.shape == (5, 3)
        assert (history.min(axis=0) < history[0]).all()
        assert not net.training

    def test_each_fold_ends_with_its_best_epoch(self):
        data = packed(60)
        _, module = self.fit("net.max_epochs=8", "net.learning_rate=0.3", data=data)
        history = np.array(module.history)
        assert len(set(history.argmin(axis=0).tolist())) > 1 or (history.argmin(axis=0) < 7).all()
        np.testing.assert_allclose(module.validation_loss().numpy(), history.min(axis=0), rtol=1e-5)

    def test_stops_when_every_fold_has_lost_patience(self):
        settings_ = ("net.max_epochs=40", "net.learning_rate=0.5", "net.patience=1")
        _, module = self.fit(*settings_)
        assert len(module.history) < 40
        assert module.stopped.all()

    def test_stopped_fold_does_not_profit_from_later_epochs(self):
        module = PackedHazard(PackedNet(SHAPE), packed(), configure(["net.patience=1"]).net)
        module.stopped = torch.tensor([True, False, False])
        module.best_loss = torch.full((3,), 9.0)
        module.__dict__["_trainer"] = SimpleNamespace(
            current_epoch=3,
            should_stop=False,
            global_rank=0,
            world_size=1,
            strategy=SimpleNamespace(reduce=lambda sums, reduce_op: sums),
        )
        module.on_train_epoch_end()
        assert module.best_loss[0] == 9.0
        assert (module.best_loss[1:] < 9.0).all()

    def test_same_seed_gives_the_same_weights_bit_for_bit(self):
        first, second = (self.fit("net.max_epochs=2")[0] for _ in range(2))
        for a, b in zip(first.parameters(), second.parameters(), strict=True):
            assert torch.equal(a, b)

    def test_minibatches_cover_every_patient_once_before_one_comes_again(self):
        batches = Batches(24, 16, 3, seed=0)  # of 4 patients
        assert len(batches) == 3
        first, second, third, fourth = (torch.cat(list(batches)) for _ in range(4))
        assert sorted(torch.cat([first, second]).tolist()) == list(range(24))
        assert sorted(torch.cat([third, fourth]).tolist()) == list(range(24))
        assert not torch.equal(first, third)

    def test_minibatches_have_one_size(self):
        batches = Batches(25, 16, 20, seed=0)
        assert {len(rows) for rows in batches} == {4}

    def test_an_epoch_has_as_many_steps_for_any_number_of_patients(self):
        assert len(list(Batches(25, 100, 7, seed=0))) == len(list(Batches(101, 100, 7, seed=0)))

    def test_full_batches_repeat_all_patients(self):
        batches = list(Batches(25, 25, 7, seed=0))
        assert len(batches) == 7
        assert all(torch.equal(rows, torch.arange(25)) for rows in batches)

    def test_minibatch_training_looks_at_held_out_patients_alone(self):
        data = packed(60)
        module = PackedHazard(PackedNet(SHAPE), data, configure(["net.batch_size=16"]).net)
        held_out = (data.role == VALIDATES).any(1)
        for rows, own in zip(module.validating, held_out, strict=True):
            assert set(np.flatnonzero(own).tolist()) <= set(rows.tolist())
        assert module.validating.shape[1] == held_out.sum(1).max() < module.own.shape[1]

    def test_minibatch_training_lowers_the_loss_too(self):
        _, module = self.fit("net.max_epochs=5", "net.batch_size=16", "net.learning_rate=0.01")
        history = np.array(module.history)
        assert (history.min(axis=0) < history[0]).all()


@pytest.mark.slow
@pytest.mark.parametrize(("batch", "dropout"), [(1000, 0.0), (16, 0.0), (17, 0.3)])
def test_two_processes_give_the_model_of_one(batch, dropout):
    made = []
    for devices in (1, 2):
        config = configure(
            [
                f"trainer.devices={devices}",
                f"net.batch_size={batch}",
                "net.steps_per_epoch=3",
                "net.max_epochs=12",
                "net.learning_rate=0.2",
                "net.patience=2",
            ]
        )
        net = PackedNet(SHAPE, dropout, dropout / 2, seed=4)
        module = train_net(net, packed(60), config.net, config.trainer, seed=4)
        assert not net.training
        made.append((net, np.array(module.history)))
    (one, alone), (two, together) = made
    assert len(alone) < 12  # both have stopped early, at the same epoch
    np.testing.assert_allclose(together, alone, rtol=1e-4)
    for p, q in zip(one.parameters(), two.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-4, atol=1e-5)


def test_the_shares_of_processes_have_the_masks_of_one():
    whole, *parts = (scrambled(dropout=0.5, modality_dropout=0.4) for _ in range(3))
    x = whole.lay_out(*inputs(ROWS))
    expected = whole.logits(x, Share(ROWS, slice(None)))
    for rank, net in enumerate(parts):
        own = slice(rank, None, 2)
        found = net.logits(x[..., own].contiguous(), Share(ROWS, own))
        torch.testing.assert_close(found, expected[..., own])


#: What a scheduler, a launcher or another tool sets for the processes that it knows.
SCHEDULERS = {
    "slurm": {
        "SLURM_JOB_ID": "11",
        "SLURM_JOB_NAME": "train",
        "SLURM_NTASKS": "4",
        "SLURM_NNODES": "2",
        "SLURM_PROCID": "3",
        "SLURM_LOCALID": "1",
        "SLURM_NODEID": "1",
    },
    "torchrun": {
        "TORCHELASTIC_RUN_ID": "none",
        "MASTER_ADDR": "nowhere.invalid",
        "MASTER_PORT": "1",
        "RANK": "1",
        "LOCAL_RANK": "1",
        "GROUP_RANK": "1",
        "WORLD_SIZE": "4",
    },
    "lsf": {"LSB_JOBID": "1", "LSB_DJOB_RANKFILE": "nowhere", "JSM_NAMESPACE_SIZE": "2"},
    "lightning": {"PL_TRAINER_MAX_STEPS": "1", "PL_TRAINER_PRECISION": "64-true"},
}


@pytest.mark.parametrize(
    ("scheduler", "devices"), [*((name, 1) for name in SCHEDULERS), ("torchrun", 2)]
)
def test_a_scheduler_s_variables_decide_nothing(scheduler, devices, monkeypatch):
    # Each process silences other units.
    settings = ["net.max_epochs=2", "net.dropout=0", "net.modality_dropout=0"]
    plain, _ = TestTraining().fit(*settings)
    for name, value in SCHEDULERS[scheduler].items():
        monkeypatch.setenv(name, value)
    before = dict(os.environ)
    net, _ = TestTraining().fit(*settings, f"trainer.devices={devices}")
    assert dict(os.environ) == before
    for p, q in zip(net.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-4, atol=1e-5)
