"""The pretended device behaves as a GPU does, so that a test on it can fail where a GPU would."""

from __future__ import annotations

import copy
import io

import numpy as np
import pytest
import torch
from torch import nn

from bench.core import devices
from bench.core.errors import InputError
from tests.pretend.device import BACKEND, LEDGER, Pretended


@pytest.fixture
def x(device):
    return torch.arange(6.0, device=device).view(2, 3)


def test_devices_do_not_mix_but_a_number_may_join(x):
    with pytest.raises(RuntimeError, match="found at least two devices, pretend:0 and cpu"):
        x + torch.ones(2, 3)
    with pytest.raises(RuntimeError, match="at least two devices"):
        nn.Linear(3, 2)(x)
    assert torch.equal((x + torch.tensor(1.0)).cpu(), torch.arange(1.0, 7.0).view(2, 3))


def test_numpy_is_refused_and_the_generator_must_be_of_the_device(x, device):
    for ask in (x.numpy, lambda: np.asarray(x)):
        with pytest.raises(TypeError, match="can't convert pretend:0 device type tensor to numpy"):
            ask()
    with pytest.raises(RuntimeError, match="Expected a 'pretend' device type for generator but found 'cpu'"):
        torch.rand(2, device=device, generator=torch.Generator())
    own = torch.Generator(device).manual_seed(1)
    assert own.device == x.device
    assert torch.rand(2, device=device, generator=own).device == x.device


WAITING = {
    "item": lambda x: x[0, 0].item(),
    "bool": lambda x: bool(x[0, 0] == 0),
    "float": lambda x: float(x.sum()),
    "cpu": lambda x: x.cpu(),
    "tolist": lambda x: x.tolist(),
    "print": str,
    "format": lambda x: f"{x[0, 0]:.2f}",
    "nonzero": lambda x: x.nonzero(),
    "masked_select": lambda x: x.masked_select(x > 1),
    "mask": lambda x: x[x > 1],
    "put by a mask": lambda x: x.clone().__setitem__(x > 3, torch.ones(2, device=x.device)),
    "list": lambda x: x[[1, 0]],
    "index on the CPU": lambda x: x[torch.tensor([1])],
    "made of numbers": lambda x: torch.tensor([1.0, 2.0], device=x.device),
    "new_tensor": lambda x: x.new_tensor(2.0),
    "copy": lambda x: torch.ones(2).to(x.device),
    "copy from memory that is not pinned": lambda x: torch.ones(2).to(x.device, non_blocking=True),
    "equal": lambda x: torch.equal(x, x),
    "unique": lambda x: x.unique(),
    "synchronize": lambda x: torch.get_device_module(x.device).synchronize(),
}
FREE = {
    "arithmetic": lambda x: (x * 2).sum(),
    "where": lambda x: torch.where(x > 1, x, 0.0),
    "fill by a mask": lambda x: x.clone().__setitem__(x > 1, 0.0),
    "index": lambda x: x[x.new_zeros(1, dtype=torch.int64)],
    "gather": lambda x: x.gather(1, x.argmax(1, keepdim=True)),
    "pinned": lambda x: torch.ones(2).pin_memory().to(x.device, non_blocking=True),
    "full": lambda x: torch.full((3,), 2.0, device=x.device),
    "slice": lambda x: x[1:],
    "one_hot": lambda x: nn.functional.one_hot(x.argmax(1), 5),
}


@pytest.mark.parametrize("what", WAITING)
def test_what_a_gpu_waits_for_is_counted(what, x):
    LEDGER.clear()
    WAITING[what](x)
    assert LEDGER.waits.total() == 1, LEDGER.waits


@pytest.mark.parametrize("what", FREE)
def test_what_a_gpu_does_not_wait_for_is_not(what, x):
    LEDGER.clear()
    FREE[what](x)
    assert not LEDGER.waits
    assert LEDGER.uploads.total() == (what == "pinned")


def test_a_wait_is_named_by_the_line_of_bench(device):
    LEDGER.clear()
    devices.check_device(device)
    ((what, place),) = LEDGER.waits
    assert what == "a value is read"
    assert place.startswith("bench/core/devices.py:")


def test_a_model_moves_trains_and_comes_back(x):
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    here = copy.deepcopy(net)
    there = copy.deepcopy(net.to(x.device))
    assert all(p.device == x.device and isinstance(p, nn.Parameter) for p in there.parameters())
    for model, images in ((here, x.cpu()), (there, x)):
        optimizer = torch.optim.AdamW(model.parameters())
        model(images).square().sum().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    written = io.BytesIO()
    torch.save(there.state_dict(), written)
    written.seek(0)
    read = torch.load(written, map_location="cpu", weights_only=True)
    assert all(torch.equal(read[name], value) for name, value in here.state_dict().items())
    there.load_state_dict(net.to("cpu").state_dict())
    assert torch.equal(there.to("cpu")(x.cpu()), net(x.cpu()))


def test_autocast_is_that_of_a_gpu(x):
    net = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4)).to(x.device)
    with torch.autocast("pretend", torch.bfloat16):
        assert net[0](x).dtype == torch.bfloat16
        assert net(x).dtype == torch.float32  # a GPU normalises in float32, a CPU does not
        assert net[0](x).softmax(1).dtype == torch.float32
    low = copy.deepcopy(net).to(torch.bfloat16)
    assert low(x.bfloat16()).dtype == torch.bfloat16
    assert net(x).dtype == torch.float32


def test_what_bench_asks_of_a_device_has_an_answer(x, device):
    assert devices.name_of(device) == "Pretended Device"
    assert devices.has_bf16(device)
    assert devices.memory(device) == (32 << 30, 64 << 30)
    devices.forget_peak(device)
    assert devices.peak_memory(device) == 0
    assert (x + x).sum() > 0
    assert devices.peak_memory(device) >= 2 * x.nbytes
    clock = devices.Clock()
    spans = [clock.start(device) for _ in range(3)]
    LEDGER.clear()
    for span in spans:
        clock.stop(device, span)
    assert not LEDGER.waits
    assert clock.settle() > 0
    assert LEDGER.waits.total() == 1  # for the last event
    assert clock.settle() == 0
    sent = devices.uploaded(torch.ones(3), device)
    assert isinstance(sent, Pretended)
    assert LEDGER.waits.total() == 1
    devices.empty_cache(device)
    assert BACKEND.emptied == 1
    with devices.forked_random(device):
        torch.manual_seed(3)


def test_a_device_that_is_not_there_is_refused_in_one_line():
    for name in ("nowhere", "cuda:77", "meta"):
        with pytest.raises(InputError, match=f"^device '{name}' is not available here; expected cpu, or cuda on a"):
            devices.check_device(name)
        assert not devices.has_bf16(name)
