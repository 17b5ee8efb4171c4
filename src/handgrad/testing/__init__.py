"""Checks for layers: those of handgrad, and yours."""

from handgrad.testing.gradcheck import GradientError, GradientReport, gradcheck
from handgrad.testing.layer_contract import ContractError, check_layer

__all__ = ["ContractError", "GradientError", "GradientReport", "check_layer", "gradcheck"]
