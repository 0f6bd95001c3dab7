"""Figures and the self-contained HTML report that a lab looks at first."""

from paramctl_jax.report.comparison import (
    encoding_and_control as encoding_and_control,
)
from paramctl_jax.report.contest import contest_panel as contest_panel
from paramctl_jax.report.contest_images import contest_images as contest_images
from paramctl_jax.report.curves import control_curves as control_curves
from paramctl_jax.report.grids import stimulus_grid as stimulus_grid
from paramctl_jax.report.heatmaps import peer_review_map as peer_review_map
from paramctl_jax.report.heatmaps import specificity_maps as specificity_maps
from paramctl_jax.report.inputs import ReportInputs as ReportInputs
from paramctl_jax.report.overview import overview as overview
from paramctl_jax.report.scatter import (
    encoding_against_control as encoding_against_control,
)
from paramctl_jax.report.study import study_json as study_json
from paramctl_jax.report.study import study_table as study_table
from paramctl_jax.report.study import write_study as write_study
from paramctl_jax.report.study_figure import study_figure as study_figure
from paramctl_jax.report.style import DARK as DARK
from paramctl_jax.report.style import LIGHT as LIGHT
from paramctl_jax.report.style import Theme as Theme
from paramctl_jax.report.style import figure_png as figure_png
from paramctl_jax.report.summary import summary_table as summary_table
from paramctl_jax.report.write import write_report as write_report
