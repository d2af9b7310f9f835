"""LoRA wants a ViT, and says so."""

import pytest
import timm

from bench.core.errors import InputError
from bench.training.lora import attach


def test_a_network_without_qkv_is_refused():
    with pytest.raises(InputError, match="ResNet has no qkv layers; expected a ViT for LoRA"):
        attach(timm.create_model("resnet10t"), rank=4, scaling=4, seed=0)
