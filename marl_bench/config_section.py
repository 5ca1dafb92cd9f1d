"""What every part of a configuration is. No torch."""

from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator


class Section(BaseModel):
    """A frozen part of the configuration that refuses unknown keys and wrong types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _off_is_a_word(cls, value: Any, info: ValidationInfo) -> Any:
        """YAML takes `off` for False; where the word is one of the choices it is meant."""
        field = cls.model_fields[info.field_name or ""]
        return "off" if value is False and "off" in get_args(field.annotation) else value
