"""Pictures of training and of models."""

from handgrad.viz.curves import draw_history, plot_history
from handgrad.viz.feature_maps import plot_feature_maps

__all__ = ["draw_history", "plot_feature_maps", "plot_history"]
