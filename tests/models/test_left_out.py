"""What sparsities leave out: counted, recorded, and said wherever a sparsity is."""

from __future__ import annotations

import pytest
import torch
from rich.console import Console
from torch import nn

from lth_bench.cli.display import print_leaderboard
from lth_bench.models.layer_roles import prunable
from lth_bench.models.left_out import left_out
from lth_bench.reports.leaderboards import FORMATS, formatted
from lth_bench.running.metrics import described
from support.records import planned, recorded
from support.records import record as made_record


class Recurrent(nn.Module):
    """Rows of an image through an LSTM, then a linear head."""

    def __init__(self):
        super().__init__()
        self.lstm, self.head = nn.LSTM(8, 16, batch_first=True), nn.Linear(16, 10)

    def forward(self, x):
        return self.head(self.lstm(x[:, 0])[0][:, -1])


class Upwards(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.head = nn.ConvTranspose2d(1, 2, 2), nn.Linear(2 * 81, 10)

    def forward(self, x):
        return self.head(self.up(x).flatten(1))


class Bare(nn.Module):
    """A bare matrix that is used, one that is not, a frozen one, and vectors in the shape of matrices."""

    def __init__(self):
        super().__init__()
        self.used, self.unused = nn.Parameter(torch.ones(10, 64)), nn.Parameter(torch.ones(100, 64))
        self.frozen = nn.Parameter(torch.ones(64, 64), requires_grad=False)
        self.vector, self.scale = nn.Parameter(torch.ones(1, 1, 64)), nn.Parameter(torch.ones(10))
        self.head = nn.Linear(10, 10)

    def forward(self, x):
        x = (x.flatten(1) + self.vector[0]) @ self.frozen
        return self.head(nn.functional.linear(x, self.used) * self.scale)


class Attending(nn.Module):
    """Attention whose keys have a width of their own, over rows with learned positions."""

    def __init__(self):
        super().__init__()
        self.positions = nn.Parameter(torch.ones(1, 8, 8))
        self.attention = nn.MultiheadAttention(8, 2, kdim=4, vdim=4, batch_first=True)
        self.head = nn.Linear(8, 10)

    def forward(self, x):
        rows = x[:, 0] + self.positions
        return self.head(self.attention(rows, rows[..., :4], rows[..., 4:])[0].mean(1))


EXPECTED = {
    Recurrent: {"lstm.weight_ih_l0": 4 * 16 * 8, "lstm.weight_hh_l0": 4 * 16 * 16},
    Upwards: {"up.weight": 1 * 2 * 4},
    Bare: {"used": 640, "frozen": 64 * 64},
    Attending: {
        "positions": 64,
        "attention.q_proj_weight": 64,
        "attention.k_proj_weight": 32,
        "attention.v_proj_weight": 32,
    },
}


@pytest.mark.parametrize("kind", EXPECTED)
def test_matrices_that_no_method_prunes_are_counted_where_a_pass_reads_them(kind):
    network = kind()
    weights = prunable(network)
    assert left_out(network, weights, (1, 8, 8)) == EXPECTED[kind]
    assert described(network, weights, (1, 8, 8)).left_out == sum(EXPECTED[kind].values())


def test_layers_kept_dense_are_left_out_and_nothing_of_a_plain_network_is():
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 10))
    weights = prunable(network)
    assert left_out(network, weights, (1, 8, 8)) == {}
    assert left_out(network, {"0.weight": weights["0.weight"]}, (1, 8, 8)) == {"3.weight": 1440}


def leaderboards(tmp_path, count):
    layers = [{"name": "fc.weight", "shape": [100, 100], "flops": 20_000}]
    network = {"layers": layers, "other_flops": 0, "parameters": 10_100}
    network |= {} if count is None else {"left_out": count}
    kept = {"layers": {"fc.weight": {"kept": 200}}, "measured": 0.98}
    item = planned("magnitude", 0.98, 0)
    return recorded(tmp_path, [(item, {**made_record(item, 0.9), "network": network, "sparsity": kept})])


@pytest.mark.parametrize(("count", "share"), [(None, ""), (0, ""), (4, ""), (6, "0.1%"), (90_000, "90.0%")])
def test_a_table_names_the_share_of_weights_that_its_sparsities_leave_out(tmp_path, count, share):
    """From the share on that shows in a sparsity with one digit; records of old say nothing."""
    board = leaderboards(tmp_path, count)
    console = Console(record=True, width=400)
    print_leaderboard(console, board)
    sentence = f"leave out {share} of its matrix weights, which no method prunes"
    texts = [
        " ".join(console.export_text().split()),
        *(formatted(board, form) for form in FORMATS if form in ("md", "html")),
    ]
    for text in texts:
        assert (sentence in text) == bool(share), text
        assert share or "leave out" not in text
    assert ("leave out" in formatted(board, "tex")) == bool(share)


def test_the_doctor_says_how_much_is_left_out(command):
    done = command("doctor", "vit_tiny_patch16_224", "--with", "patch_size=4")
    words = "no method prunes 12,480 matrix weights (0.2% of all), and no sparsity counts them (pos_embed)"
    assert words in done.stdout
