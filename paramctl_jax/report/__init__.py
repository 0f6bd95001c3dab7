"""Figures and the self-contained HTML report that a lab looks at first."""

from paramctl_jax.report.comparison import (
    encoding_and_control as encoding_and_control,
)
from paramctl_jax.report.curves import control_curves as control_curves
from paramctl_jax.report.grids import stimulus_grid as stimulus_grid
from paramctl_jax.report.inputs import ReportInputs as ReportInputs
from paramctl_jax.report.style import DARK as DARK
from paramctl_jax.report.style import LIGHT as LIGHT
from paramctl_jax.report.style import Theme as Theme
from paramctl_jax.report.style import figure_png as figure_png
from paramctl_jax.report.summary import summary_table as summary_table
from paramctl_jax.report.write import write_report as write_report
