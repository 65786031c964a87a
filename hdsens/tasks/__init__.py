"""Tasks: what is trained (data sets and models), and how to bring your own.

Models are built by `hdsens.tasks.models.build_model`, which needs torch; what is re-exported here
does not.
"""

from hdsens.tasks.data import (
    Data,
    check_data,
    data_names,
    input_shape,
    load_data,
    split_indices,
    test_size,
    train_size,
)
from hdsens.tasks.importing import import_object
from hdsens.tasks.names import check_input_shape, check_model, model_names

__all__ = [
    "Data",
    "check_data",
    "check_input_shape",
    "check_model",
    "data_names",
    "import_object",
    "input_shape",
    "load_data",
    "model_names",
    "split_indices",
    "test_size",
    "train_size",
]
