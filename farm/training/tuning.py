"""Which parameters learn."""

from typing import Any, ClassVar


class Full:
    """All of them."""

    stage_version: ClassVar[int] = 1

    def apply(self, model: Any) -> Any:
        """The model, every parameter marked trainable."""
        return model.requires_grad_(True)
