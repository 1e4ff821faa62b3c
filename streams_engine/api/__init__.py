"""The contract for machines: JSON Schemas, typed dictionaries and an OpenAPI document."""
