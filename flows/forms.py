"""How the parameters of flows look in Prefect's forms lives here. Which a flow has does not."""

from typing import Annotated, Any

from pydantic import Field, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue

from whosaid.profiles import Profile
from whosaid.types import LanguageCode


class OrEmpty:
    """Make one plain field of «something or null», for which the form shows two buttons.

    A field that is left empty is not sent. Programs that start runs must leave it out likewise:
    the server refuses null then.
    """

    def __get_pydantic_json_schema__(
        self, core_schema: Any, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Leave null out."""
        schema = handler(core_schema)
        (something,) = (choice for choice in schema["anyOf"] if choice != {"type": "null"})
        return handler.resolve_ref_schema(something)


ProfileOrEmpty = Annotated[Profile | None, OrEmpty()]
LanguageOrEmpty = Annotated[LanguageCode | None, OrEmpty()]
TextOrEmpty = Annotated[str | None, OrEmpty()]
CountOrEmpty = Annotated[int | None, Field(ge=1), OrEmpty()]
IndexOrEmpty = Annotated[int | None, Field(ge=0), OrEmpty()]
ParamsOrEmpty = Annotated[dict[str, dict[str, Any]] | None, OrEmpty()]
