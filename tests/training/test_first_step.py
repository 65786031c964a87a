"""What no cell could train is refused before anything is written, with the place of the fault."""

from __future__ import annotations

from dataclasses import replace

import pytest
from test_fused import arm, cells_of, declare
from torch import nn

from hdsens.errors import InputError, describe
from hdsens.tasks.data import load_data
from hdsens.training.choosing.choice import choose_packs


def no_parameters():
    return nn.Flatten()


def frozen(input_shape, n_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, n_classes)).requires_grad_(False)


def raises_when_built(width):
    raise OSError("no weights")


class Headed(nn.Module):
    """Gives what it is asked to give."""

    def __init__(self, head):
        super().__init__()
        self.layer, self.head = nn.Linear(64, 10), head

    def forward(self, x):
        x = self.layer(x.flatten(1))
        heads = {"pair": (x, x), "few": x[:, :4], "deep": x[:, :, None], "cut": x.detach()}
        return heads[self.head]


def headed(head):
    return Headed(head)


def shaky_digits():
    def shake(inputs, generator):
        return inputs + inputs.new_zeros(5)

    return replace(load_data("digits", {}), augment=shake)


def line(function, after):
    return f"(test_first_step.py:{function.__code__.co_firstlineno + after})"


OWN = "model 'test_first_step:"
CASES = {
    "no_parameters": ({}, f"{OWN}no_parameters' must have parameters that require a gradient "
                      "(got 'Flatten')"),
    "frozen": ({}, f"{OWN}frozen' must have parameters that require a gradient (got 'Sequential')"),
    "raises_when_built": ({"width": 3}, f"{OWN}raises_when_built' must be built: OSError: no "
                          f"weights {line(raises_when_built, 1)}; mend it or its settings"),
    "pair": ({"head": "pair"}, f"{OWN}headed' must return a tensor of 10 logits for each of 100 "
             "examples (got 'tuple')"),
    "few": ({"head": "few"}, f"{OWN}headed' must return a tensor of 10 logits for each of 100 "
            "examples (got (100, 4))"),
    "deep": ({"head": "deep"}, f"{OWN}headed' must return a tensor of 10 logits for each of 100 "
             "examples (got (100, 10, 1))"),
    "cut": ({"head": "cut"}, f"{OWN}headed' must train on a minibatch: RuntimeError: element 0 of "
            "tensors does not require grad and does not have a grad_fn; mend it or its settings"),
    "unknown": ({"head": "nose"}, f"{OWN}headed' must train on a minibatch: KeyError: 'nose' "
                f"{line(Headed.forward, 3)}; mend it or its settings"),
    "no_name": ({}, f"{OWN}no_name' must name something that module 'test_first_step' has "
                "(got 'no_name')"),
}  # fmt: skip


@pytest.mark.parametrize("path", ["auto", "plain"])
@pytest.mark.parametrize("case", CASES)
def test_a_model_that_cannot_make_the_first_step_is_named_with_its_fault(case, path):
    settings, told = CASES[case]
    model = "headed" if "head" in settings else case
    study = declare([arm("sgd", "SGD")], f"{__name__}:{model}", settings, dtype="float32")
    with pytest.raises(InputError) as caught:
        choose_packs(study, cells_of(study), "cpu", 1, 4, path)
    assert str(caught.value) == f"study 't': task: {told}"


def test_a_model_that_cannot_be_evaluated_is_refused_too():
    study = declare([arm("sgd", "SGD")], "fused_models:training_only")
    told = (
        r"must be evaluated on a minibatch: ValueError: never evaluated \(fused_models.py:\d+\); "
        r"mend it or its settings$"
    )
    with pytest.raises(InputError, match=told):
        choose_packs(study, cells_of(study), "cpu", 1, 4, "auto")


def test_an_augmentation_that_raises_is_named_as_the_data_that_it_belongs_to():
    study = declare([arm("sgd", "SGD")])
    task = study.task.model_copy(update={"data": f"{__name__}:shaky_digits"})
    study = study.model_copy(update={"task": task})
    told = (
        r"data set 'test_first_step:shaky_digits' must give a minibatch: RuntimeError: The size .* "
        r"\(test_first_step.py:\d+\)"
    )
    with pytest.raises(InputError, match=told):
        choose_packs(study, cells_of(study), "cpu", 1, 4, "auto")


def caught(function):
    try:
        function()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def through_a_library():
    return nn.Linear(2, 3)(None)


def wordless():
    raise StopAsyncIteration


def test_an_error_is_one_line_with_the_innermost_place_of_ones_own_code():
    told = describe(caught(through_a_library))
    assert told.startswith("TypeError: linear(): argument")
    assert told.endswith(f" {line(through_a_library, 1)}")
    assert describe(caught(wordless)) == f"StopAsyncIteration {line(wordless, 1)}"
    assert describe(InputError("x", "must be y")) == "x must be y"
    assert describe(ValueError("a\n  b")) == "ValueError: a b"


class SpeechlessError(Exception):
    def __str__(self):
        return self.words


def speechless():
    raise SpeechlessError


def test_an_error_whose_own_words_raise_is_named_with_its_place():
    assert describe(caught(speechless)) == f"SpeechlessError {line(speechless, 1)}"


def test_a_long_message_is_cut_and_its_place_stays():
    def wordy():
        raise ValueError("x" * 5000)

    told = describe(caught(wordy), limit=100)
    assert len(told) == 100
    assert told.endswith(f"x {line(wordy, 1)}")
