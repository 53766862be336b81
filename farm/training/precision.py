"""Which number format matrix products are taken in; weights and the optimiser's state stay in
float32 (mixed precision, Micikevicius et al. 2018, arXiv 1710.03740, without loss scaling, which
bfloat16 does not need)."""

from typing import TYPE_CHECKING, Literal

from farm.checks import require

if TYPE_CHECKING:
    from torch import autocast, device

Precision = Literal["auto", "float32", "bfloat16"]
"""`auto`: bfloat16 on a GPU that computes in it, float32 elsewhere."""


def in_bfloat16(precision: Precision, device: "str | device") -> bool:
    """Whether training on this torch device runs under bfloat16 autocast. Raises `ConfigError` for
    a GPU that cannot."""
    import torch

    on_gpu = torch.device(device).type == "cuda"
    native = on_gpu and torch.cuda.is_bf16_supported(including_emulation=False)
    require(
        "tuning.precision",
        precision,
        "auto or float32 on a GPU that does not compute in bfloat16",
        precision != "bfloat16" or native or not on_gpu,
    )
    return precision == "bfloat16" or (precision == "auto" and native)


def autocast_to(precision: Precision, device: "str | device") -> "autocast":
    """A context in which models compute so; their outputs may be bfloat16."""
    import torch

    return torch.autocast(
        torch.device(device).type, torch.bfloat16, enabled=in_bfloat16(precision, device)
    )
