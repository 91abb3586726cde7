"""The version of Glint."""

VERSION = "0.1.0"
