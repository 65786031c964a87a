"""The study: what a person declares, the cells it means, and which of them train together."""

from hdsens.study.declaration import (
    ARM_FACTORS,
    Arm,
    Margins,
    Protocol,
    Stop,
    Study,
    Target,
    Task,
    Trace,
)

__all__ = ["ARM_FACTORS", "Arm", "Margins", "Protocol", "Stop", "Study", "Target", "Task", "Trace"]
