"""How the parameters of flows look in Prefect's forms lives here. Which a flow has does not."""

from typing import Annotated, Any

from pydantic import Field, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue

from whosaid.profiles import Profile
from whosaid.types import LanguageCode


class OrEmpty:
    """A field that may stay empty: without this, the form has buttons «int» and «None» for it."""

    def __get_pydantic_json_schema__(
        self, core_schema: Any, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Leave null out, which Prefect accepts wherever it is the default, but not in a choice."""
        schema = handler(core_schema)
        (field,) = (choice for choice in schema["anyOf"] if choice != {"type": "null"})
        field = handler.resolve_ref_schema(field)
        return {**field, "enum": [*field["enum"], None]} if "enum" in field else field


ProfileOrEmpty = Annotated[Profile | None, OrEmpty()]
LanguageOrEmpty = Annotated[LanguageCode | None, OrEmpty()]
TextOrEmpty = Annotated[str | None, OrEmpty()]
CountOrEmpty = Annotated[int | None, Field(ge=1), OrEmpty()]
IndexOrEmpty = Annotated[int | None, Field(ge=0), OrEmpty()]
