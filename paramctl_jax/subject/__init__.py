"""The in-silico subject, which closes the loop without an animal."""

from paramctl_jax.subject.linear import linear_subject
from paramctl_jax.subject.subject import Subject, subject_of_model

__all__ = ["Subject", "linear_subject", "subject_of_model"]
