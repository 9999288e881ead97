"""Store stage results as JSON with a checksum, so that damaged ones are computed again."""

from typing import Any

from prefect.serializers import JSONSerializer
from pydantic import Field

from spokenby.site.stage_results import SERIALIZER_TYPE, seal, unseal


class CheckedJSONSerializer(JSONSerializer[Any]):
    """Prefect's JSON, with its SHA-256 in a line of its own before it."""

    type: str = Field(default=SERIALIZER_TYPE, frozen=True)

    def dumps(self, obj: Any) -> bytes:
        """Return the sealed JSON of an object."""
        return seal(super().dumps(obj))

    def loads(self, blob: bytes) -> Any:
        """Return the object.

        Raises:
            ValueError: the JSON is not the one that was sealed.
        """
        return super().loads(unseal(blob))
