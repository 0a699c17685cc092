"""A program file → a Program, or every finding at file:line:column."""

from kat_workflow.language.compiler import Checked, check, compile_files, load
from kat_workflow.language.library import Files, Folder, Library, shipped

__all__ = ["Checked", "Files", "Folder", "Library", "check", "compile_files", "load", "shipped"]
