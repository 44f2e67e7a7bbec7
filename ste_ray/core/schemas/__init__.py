"""JSON Schemas of any draft: what they say of a value, and where their references lead."""
