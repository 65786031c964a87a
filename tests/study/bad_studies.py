"""Malformed studies as TOML, each by a name: what people mistype, and what they might try."""

from __future__ import annotations

GOOD = """
name = "tiny"
seeds = 2
[task]
model = "logreg"
steps = 3
[targets]
low = { batch_loss = 1.0 }
[protocol]
pilot_seeds = [100]
[[arms]]
name = "sgd"
optimizer = "SGD"
lr = [0, 0.1]
[[arms]]
name = "hd"
optimizer = "SGDHD"
baseline = "sgd"
lr = [0, 0.1]
hypergrad_lr = 1e-3
settings = { momentum = 0.9 }
factors = { nesterov = [true, false] }
"""


def changed(old: str, new: str) -> bytes:
    assert GOOD.count(old) >= 1, old
    return GOOD.replace(old, new, 1).encode()


MANY = ", ".join(str(i) for i in range(20_000))

BAD_STUDIES: dict[str, bytes] = {
    # Not TOML at all
    "empty": b"",
    "nothing but a name": b'name = "x"',
    "binary": bytes(range(256)),
    "zeros": b"\0" * 100,
    "utf-16": GOOD.encode("utf-16"),
    "latin-1": changed('"tiny"', '"t\xefny"').decode().encode("latin-1"),
    "json": b'{"name": "tiny"}',
    "yaml": b"name: tiny\nseeds: 2\n",
    "cut": GOOD[:60].encode(),
    "table twice": GOOD.encode() + b"[task]\n",
    "key twice": changed("seeds = 2", "seeds = 2\nseeds = 3"),
    "deep lists": b"x = " + b"[" * 5000,
    "deep tables": ("x = " + "{a=" * 5000).encode(),
    "a long number": changed("seeds = 2", "seeds = " + "9" * 5000),
    "a long hexadecimal number": changed("seeds = 2", "seeds = 0x" + "f" * 9000),
    "nine megabytes": GOOD.encode() + b"# " + b"x" * 9_000_000,
    # Names that are paths, or no names
    "name up": changed('"tiny"', '"../tiny"'),
    "name absolute": changed('"tiny"', '"/etc/passwd"'),
    "name with backslashes": changed('"tiny"', "'..\\tiny'"),
    "name with NUL": changed('"tiny"', '"ti\\u0000ny"'),
    "name with newline": changed('"tiny"', '"ti\\nny"'),
    "name with escape codes": changed('"tiny"', '"ti\\u001b[31mny"'),
    "name of dots": changed('"tiny"', '".."'),
    "name hidden": changed('"tiny"', '".tiny"'),
    "name like an option": changed('"tiny"', '"--out"'),
    "name of a drive": changed('"tiny"', '"C:tiny"'),
    "name of 300 bytes": changed('"tiny"', f'"{"é" * 150}"'),
    "name of spaces": changed('"tiny"', '"   "'),
    "name as a number": changed('"tiny"', "3"),
    "arm with NUL": changed('name = "sgd"', 'name = "s\\u0000gd"'),
    "arm of 300 bytes": changed('name = "sgd"', f'name = "{"x" * 300}"'),
    "arm without a name": changed('name = "sgd"\n', ""),
    "target with a path": changed("low =", '"../low" ='),
    "target with a space": changed("low =", '"lo w" ='),
    "target of 300 bytes": changed("low =", "x" * 300 + " ="),
    "factor with a dot": changed("nesterov =", '"neste.rov" ='),
    "factor like a column": changed("nesterov =", "cell_id ="),
    "factor like a target": changed("nesterov =", "steps_to_low ="),
    # Numbers
    "seeds not finite": changed("seeds = 2", "seeds = inf"),
    "seeds negative": changed("seeds = 2", "seeds = -2"),
    "seeds a billion": changed("seeds = 2", "seeds = 1_000_000_000"),
    "seeds as text": changed("seeds = 2", 'seeds = "2"'),
    "seeds as dates": changed("seeds = 2", "seeds = [2026-01-01]"),
    "seed beyond 32 bits": changed("seeds = 2", "seeds = [4294967296]"),
    "steps zero": changed("steps = 3", "steps = 0"),
    "steps as a float": changed("steps = 3", "steps = 3.0"),
    "steps astronomic": changed("steps = 3", "steps = 10" + "0" * 30),
    "epochs astronomic": changed("steps = 3", "epochs = 10" + "0" * 30),
    "both budgets": changed("steps = 3", "steps = 3\nepochs = 3"),
    "no budget": changed("steps = 3\n", ""),
    "batch of nothing": changed("steps = 3", "steps = 3\nbatch_size = 0"),
    "batch astronomic": changed("steps = 3", "steps = 3\nbatch_size = 10000000000000"),
    "weight decay not a number": changed("steps = 3", "steps = 3\nweight_decay = nan"),
    "weight decay as text": changed("steps = 3", 'steps = 3\nweight_decay = "1e-4"'),
    "weight decay true": changed("steps = 3", "steps = 3\nweight_decay = true"),
    "validation of everything": changed("steps = 3", "steps = 3\nvalidation = 100000"),
    "validation of nothing": changed("steps = 3", "steps = 3\nvalidation = 0"),
    "trace points astronomic": changed("[targets]", "[trace]\npoints = 10000000000\n[targets]"),
    "trace evaluated beyond": changed("[targets]", "[trace]\nevaluate = [1.5]\n[targets]"),
    "trace evaluated too often": changed("[targets]", f"[trace]\nevaluate = [{MANY}]\n[targets]"),
    "target not finite": changed("batch_loss = 1.0", "batch_loss = -inf"),
    "lr negative": changed("lr = [0, 0.1]", "lr = [0, -0.1]"),
    "lr not finite": changed("lr = [0, 0.1]", "lr = [0, nan]"),
    "lr twice": changed("lr = [0, 0.1]", "lr = [0, -0.0]"),
    "lr nested": changed("lr = [0, 0.1]", "lr = [[[0]]]"),
    "lr of 20,000 levels": changed("lr = [0, 0.1]", f"lr = [{MANY}]"),
    "lr of a vast grid": changed(
        "lr = [0, 0.1]", "lr = { log10 = [-300, 300], per_decade = 1000 }"
    ),
    "lr beyond floats": changed("lr = [0, 0.1]", "lr = [0, 1" + "0" * 400 + "]"),
    "grid reversed": changed("lr = [0, 0.1]", "lr = { log10 = [0, -6] }"),
    "grid of text": changed("lr = [0, 0.1]", 'lr = { log10 = ["a", "b"] }'),
    "grid per nothing": changed("lr = [0, 0.1]", "lr = { log10 = [0, 1], per_decade = 0 }"),
    "cells without end": changed("seeds = 2", "seeds = 1_000_000"),
    # Tables
    "task a list": changed("[task]", "[[task]]"),
    "arms a table": GOOD.split("[[arms]]")[0].encode() + b"[arms]\nname = 'x'\n",
    "no arms": GOOD.split("[[arms]]")[0].encode(),
    "no task": changed('[task]\nmodel = "logreg"\nsteps = 3\n', ""),
    "an unknown key": changed("seeds = 2", "seeds = 2\nsedes = 3"),
    "settings a list": changed("settings = { momentum = 0.9 }", "settings = [0.9]"),
    "settings with a time": changed("momentum = 0.9", "momentum = 07:32:00"),
    "settings not finite": changed("momentum = 0.9", "momentum = inf"),
    "settings beyond floats": changed("momentum = 0.9", "momentum = 1" + "0" * 400),
    "settings beyond 2**53": changed("momentum = 0.9", "momentum = 9007199254740993"),
    "settings deep": changed("momentum = 0.9", "momentum = " + "[" * 60 + "]" * 60),
    "settings that hold lr": changed("momentum = 0.9", "lr = 0.9"),
    "pilot seeds among seeds": changed("[100]", "[1]"),
    "no pilot seeds": changed("[100]", "[]"),
    "primary of no arm": changed("[100]", "[100]\nprimary = { x = { lr = 0.1 } }"),
    "primary of no level": changed("[100]", "[100]\nprimary = { hd = { lr = 7 } }"),
    "baseline missing": changed('baseline = "sgd"', 'baseline = "none"'),
    "baseline itself": changed('baseline = "sgd"', 'baseline = "hd"'),
    "arm twice": changed('name = "hd"', 'name = "sgd"'),
    "level that the baseline lacks": GOOD.replace("0.1]\nhyper", "0.2]\nhyper").encode(),
    # What only the parts of a run can tell
    "model unknown": changed('"logreg"', '"resnet"'),
    "model empty": changed('"logreg"', '""'),
    "model with control codes": changed('"logreg"', '"log\\u0007reg"'),
    "model of 2,000 letters": changed('"logreg"', f'"{"x" * 2000}"'),
    "model from nowhere": changed('"logreg"', '"no_such:factory"'),
    "model from a path": changed('"logreg"', '"../../etc:passwd"'),
    "model that is no function": changed('"logreg"', '"math:pi"'),
    "data unknown": changed("steps = 3", 'steps = 3\ndata = "mnits"'),
    "data that are no data": changed("steps = 3", 'steps = 3\ndata = "builtins:dict"'),
    "optimizer unknown": changed('"SGDHD"', '"SDGHD"'),
    "optimizer that is none": changed('"SGDHD"', '"builtins:dict"'),
    "optimizer refuses a setting": changed("momentum = 0.9", "momentun = 0.9"),
    "optimizer refuses a level": changed("[true, false]", "[true], dampening = [0.0, 0.5]"),
    "schedule unknown": changed('"SGD"', '"SGD"\nschedule = "cosine"'),
    "clipping negative": changed('"SGD"', '"SGD"\nclip_grad_norm = -1.0'),
}
