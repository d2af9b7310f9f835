"""FFX: pyffx's table at the keyed half of the positions, a slope in the backward pass, nothing secret kept."""

import hashlib
import warnings

import pyffx
import pytest
import torch
from torch import Tensor, nn

from bench.core.errors import InputError
from bench.core.key import Key
from bench.core.profile import load_profile
from bench.core.registry import registry
from bench.models.classifier import Classifier, backbone, freeze
from bench.models.fold import fold

KEY, OTHER = Key(bytes(range(32))), Key.from_seed(2, "test")
KNOWN = [309, 872, 476, 31, 36, 881, 209, 841]
PURPOSE = b"keybench/v1/derive/ffx/password/P=4/"


def bind(key: Key = KEY, block: int = 4) -> nn.Module:
    return registry("transforms").make("ffx").bind(key, block_size=block, image_shape=(3, 32, 32))


def eight_bit(n: int = 3) -> Tensor:
    """Images of 8 bits that hold every value."""
    values = torch.randint(0, 256, (n, 3, 32, 32), generator=torch.Generator().manual_seed(5))
    assert len(values.unique()) == 256
    return values.float() / 255


def mask(key: Key = KEY) -> Tensor:
    """The encrypted positions of an image (3, 32, 32), P = 4, from the key alone."""
    one = torch.tensor([v > 24 for v in key.permutation("ffx/P=4", 48)]).view(4, 4, 3).permute(2, 0, 1)
    return one.repeat(1, 8, 8)


def table(key: bytes = bytes(range(32))) -> Tensor:
    """The table by pyffx itself, under the password as documented."""
    password = hashlib.sha256(PURPOSE + key).digest()
    return torch.tensor([pyffx.Integer(password, length=3).encrypt(value) for value in range(256)])


def test_the_table_is_pyffx_and_the_mask_the_official_half():
    codes, x = table(), eight_bit()
    assert len(codes.unique()) == 256
    assert codes.min() >= 0
    assert 255 <= codes.max() <= 999
    expected = torch.where(mask(), codes[(x * 255).round().long()], x * 255) / codes.max()
    torch.testing.assert_close(bind()(x), expected, rtol=0, atol=2**-24)
    assert int(mask()[:, :4, :4].sum()) == 23  # 25 .. 47 of 0 .. 47


def test_known_answers_of_the_table():
    """Made once with hashlib and pyffx 0.3.0; another version must give the same model."""
    assert table()[:8].tolist() == KNOWN
    assert KEY.derive("ffx/password/P=4") == hashlib.sha256(PURPOSE + bytes(range(32))).digest()


def test_each_use_of_a_key_derives_its_own_bytes():
    derived = {k.derive(p) for k in (KEY, OTHER) for p in ("ffx/password/P=4", "ffx/password/P=8")}
    assert len(derived) == 4
    assert all(len(d) == 32 for d in derived)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("block", [2, 4, 8, 16])
def test_8_bit_images_come_back_and_stay_in_the_box(block, dtype):
    t, x = bind(block=block), eight_bit().to(dtype)
    y = t(x)
    assert y.dtype == dtype
    assert ((y >= 0) & (y <= 1)).all()
    assert not torch.equal(y, x)
    torch.testing.assert_close(t.inverse(y), x, rtol=0, atol=2**-24)
    assert torch.equal((t.inverse(y) * 255).round(), (x * 255).round())


def test_positions_that_are_not_encrypted_stay_continuous_and_the_others_are_rounded():
    t, x = bind(), torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    near = (x + 0.2 / 255).clamp(0, 1)
    same, here = t(x) == t(near), mask().expand_as(x)
    level = (x * 255).round() == (near * 255).round()
    assert torch.equal(same[here], level[here])
    assert not same[~here & (x < 0.99)].any()


def test_the_backward_pass_has_the_slope_between_the_neighbours_of_a_level():
    t, codes = bind(), table().double()
    x = torch.rand(2, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    weights = torch.randn(x.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    (gradient,) = torch.autograd.grad((t(x) * weights).sum(), x)
    level = (x.detach() * 255).round().long()
    above, below = (level + 1).clamp(max=255), (level - 1).clamp(min=0)
    slope = torch.where(mask(), (codes[above] - codes[below]) / (above - below), 1.0) * 255 / codes.max()
    torch.testing.assert_close(gradient, weights * slope)
    assert t.bpda == "secant"


def test_a_recording_gives_the_same_values_and_the_same_gradients():
    """The engine records models without a graph and asks the recording for gradients."""
    t, x = bind(), eight_bit(8)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        replay = torch.jit.freeze(torch.jit.trace(t.eval(), x[:4], check_trace=False))
    for _ in range(3):  # the recorder optimises what it has seen twice
        fresh = torch.rand(8, 3, 32, 32).requires_grad_()
        values, again = t(fresh), replay(fresh)
        assert torch.equal(values, again)
        wanted, got = (torch.autograd.grad(v.pow(2).sum(), fresh)[0] for v in (values, again))
        torch.testing.assert_close(got, wanted)
    assert wanted[mask().expand_as(wanted)].abs().mean() > 0


def test_the_key_decides_table_and_mask():
    assert not torch.equal(mask(), mask(OTHER))
    assert not torch.equal(bind()(eight_bit()), bind(OTHER)(eight_bit()))
    assert torch.equal(bind()(eight_bit()), bind()(eight_bit()))


def test_nothing_secret_is_kept_or_shown():
    t = bind()
    assert t.state_dict() == {}
    assert list(t.parameters()) == []
    secrets = [str(v) for v in table()[:6].tolist()] + [KEY.derive("ffx/password/P=4").hex()]
    for shown in (repr(t), str(t), repr(registry("transforms").make("ffx"))):
        assert not any(secret in shown for secret in secrets)


def test_after_a_shuffle_it_encrypts_what_was_shuffled():
    profile = load_profile("digits")
    chain = registry("defenses").make("key-full", {"transform": "pixel-shuffle+ffx"}).bind(KEY, profile)
    shuffle = registry("transforms").make("pixel-shuffle").bind(KEY, block_size=4, image_shape=(3, 32, 32))
    x = eight_bit()
    assert torch.equal(chain(x), bind()(shuffle(x)))
    torch.testing.assert_close(chain.inverse(chain(x)), x, rtol=0, atol=2**-24)


@pytest.mark.parametrize("transform", ["ffx", "pixel-shuffle+ffx"])
def test_it_does_not_fold_into_the_weights(transform):
    profile = load_profile("digits")
    bound = registry("defenses").make("key-full", {"transform": transform}).bind(KEY, profile)
    model = freeze(Classifier(backbone(profile.base, 10, 0), (0.5,) * 3, (0.5,) * 3, bound)).double()
    with pytest.raises(InputError, match="not affine"):
        fold(model)
