"""Random changes to training images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class CropAndFlip:
    """Shift each image by up to ``padding`` pixels and mirror half of them, as in the paper.

    The paper's CIFAR-10 runs used torchvision's ``RandomHorizontalFlip`` and
    ``RandomCrop(32, padding=4)`` before normalising; here the inputs are normalised already, so
    the border is ``fill``: black after normalisation, one value a channel.
    """

    padding: int
    fill: tuple[float, ...]

    def __call__(self, inputs: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return changed copies of images (n, channels, height, width), by ``generator`` alone."""
        import torch  # a reader of data needs no torch until it trains

        n, channels, height, width = inputs.shape
        device = inputs.device

        def draw(high: int) -> torch.Tensor:
            drawn = torch.randint(high, (n, 1), generator=generator, device=generator.device)
            return drawn.to(device)

        rows = draw(2 * self.padding + 1) + torch.arange(height, device=device)
        columns = draw(2 * self.padding + 1) + torch.arange(width, device=device)
        columns = torch.where(draw(2) == 1, columns.flip(1), columns)
        image = torch.arange(n, device=device)[:, None, None, None]
        channel = torch.arange(channels, device=device)[:, None, None]
        padded = self._pad(inputs)
        return padded[image, channel, rows[:, None, :, None], columns[:, None, None, :]]

    def _pad(self, inputs: torch.Tensor) -> torch.Tensor:
        n, channels, height, width = inputs.shape
        border = inputs.new_tensor(self.fill).reshape(channels, 1, 1)
        padded = border.repeat(n, 1, height + 2 * self.padding, width + 2 * self.padding)
        inside = slice(self.padding, -self.padding)
        padded[:, :, inside, inside] = inputs
        return padded
