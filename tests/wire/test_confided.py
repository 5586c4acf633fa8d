from __future__ import annotations

import pytest

from fedmed.errors import DataError, FederationError, FedmedError, StoreError
from fedmed.wire.confided import SEE, for_log, of_error


def raised(error: FedmedError, cause: Exception) -> FedmedError:
    try:
        raise error from cause
    except FedmedError as made:
        return made


@pytest.mark.parametrize(
    ("error", "instead"),
    [
        (DataError("/images/Doe^Jane/1.dcm is damaged"), f"DataError: {SEE}"),
        (
            FileNotFoundError(2, "No such file or directory", "/images/Doe^Jane"),
            f"FileNotFoundError (No such file or directory): {SEE}",
        ),
        (
            raised(StoreError("Doe^Jane cannot be kept"), raised(StoreError("Doe"), OSError(28, "No space left on device"))),
            f"StoreError (No space left on device): {SEE}",
        ),
    ],
)
def test_of_an_error_of_data_a_log_has_the_kind_alone(error, instead):
    told = of_error(error)
    assert "Doe" in told
    assert for_log(told) == instead
    assert for_log(of_error(error, "north's app: ")) == f"north's app: {instead}"


def test_other_errors_are_told_as_they_are():
    told = of_error(FederationError("two of three sites are missing"), "round 3: ")
    assert for_log(told) == told == "round 3: FederationError: two of three sites are missing"
