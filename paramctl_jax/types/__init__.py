"""Records that cross stages: what one stage writes and the next one reads.

Every record is a frozen dataclass of plain arrays. Measured data has the axes
``[image, site, repeat]`` (NaN for a missing repeat), designed sweeps have
``[site, seed, level]``, images are ``[..., height, width, channel]`` and sRGB.
Statistics live in float64 numpy; only `Backbone.variables` and the encoding axes
travel into compiled programs, always as arguments.
"""

from paramctl_jax.types.controversial import (
    ControversialSet,
    ControversialStimulus,
    ControversialSweep,
)
from paramctl_jax.types.encoding import (
    Backbone,
    EncodingEvaluation,
    EncodingModel,
    Network,
)
from paramctl_jax.types.errors import (
    CheckpointError,
    FailedError,
    InputError,
    indices_of,
    unknown,
)
from paramctl_jax.types.images import (
    ImageSet,
)
from paramctl_jax.types.recordings import (
    Recordings,
    Trials,
)
from paramctl_jax.types.scoring import (
    Comparison,
    ControlScore,
    ModelScore,
    PooledScore,
    SiteScore,
)
from paramctl_jax.types.synthesis import (
    Stimulus,
    StimulusSet,
    Sweep,
    Traces,
)
from paramctl_jax.types.verdicts import (
    ChoiceScore,
    ChoiceSite,
    PeerReview,
    Replication,
    Specificity,
)

__all__ = [
    "Backbone",
    "CheckpointError",
    "ChoiceScore",
    "ChoiceSite",
    "Comparison",
    "ControlScore",
    "ControversialSet",
    "ControversialStimulus",
    "ControversialSweep",
    "EncodingEvaluation",
    "EncodingModel",
    "FailedError",
    "ImageSet",
    "InputError",
    "ModelScore",
    "Network",
    "PeerReview",
    "PooledScore",
    "Recordings",
    "Replication",
    "SiteScore",
    "Specificity",
    "Stimulus",
    "StimulusSet",
    "Sweep",
    "Traces",
    "Trials",
    "indices_of",
    "unknown",
]
