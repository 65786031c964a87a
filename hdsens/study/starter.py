"""A small study to start from."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

from hdsens.errors import InputError
from hdsens.study.declaration import Study

_STARTER = """\
# Does hypergradient descent need less tuning of the learning rate than SGD? `hdsens run` trains
# each arm at each level of its factors with each seed; what a key means: docs/study-file.md.
name = {name}
seeds = 10                        # fewer train faster, but a verdict on lr = 0 needs 10

[task]
model = "mlp"                     # or logreg, cnn, vgg16_bn, "package.module:factory"
model_settings = {{ width = 64 }}
data = "digits"                   # or mnist, fashion_mnist, cifar10, "package.module:factory"
batch_size = 128
epochs = 20

[protocol]                        # fixed before the seeds above run; leave it out to explore
pilot_seeds = [100, 101, 102]     # they choose the best lr; the others judge
primary = {{ sgd_hd = {{ hypergrad_lr = 1e-2 }} }}

[[arms]]
name = "sgd"
optimizer = "SGD"                 # of hdsens.optim or torch.optim, or "package.module:Class"
lr = {{ zero = true, log10 = [-4, 1], per_decade = 1 }}

[[arms]]
name = "sgd_hd"
optimizer = "SGDHD"
baseline = "sgd"
lr = {{ zero = true, log10 = [-4, 1], per_decade = 1 }}
hypergrad_lr = [1e-3, 1e-2, 1e-1]
"""


def write_starter(file: Path) -> None:
    """Write a small study to start from, named after the file.

    Raises:
        InputError: the file exists, its folder does not, or its name cannot be a study's.
    """
    Study.from_dict(tomllib.loads(_STARTER.format(name="''")) | {"name": file.stem})
    text = _STARTER.format(name=json.dumps(file.stem, ensure_ascii=False))
    try:
        with file.open("x", encoding="utf-8") as out:
            out.write(text)
    except FileExistsError:
        raise InputError(
            f"file {str(file)!r}", "must not exist yet", remedy="choose a new name"
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"file {str(file)!r}", f"cannot be written: {reason}", remedy="check the path"
        ) from None
