"""Checks for layers: those of handgrad, and yours."""

from handgrad.testing.batchnorm.report import BatchNormCheck, BatchNormError, BatchNormReport
from handgrad.testing.check_batchnorm import check_batchnorm
from handgrad.testing.gradcheck import GradientReport, gradcheck
from handgrad.testing.layer_contract import ContractError, check_layer
from handgrad.testing.subject import GradientError

__all__ = [
    "BatchNormCheck",
    "BatchNormError",
    "BatchNormReport",
    "ContractError",
    "GradientError",
    "GradientReport",
    "check_batchnorm",
    "check_layer",
    "gradcheck",
]
