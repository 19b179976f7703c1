"""What to write instead of Python that a recipe cannot say."""

import ast
from collections.abc import Mapping

MAX_SHOWN = 50

VALUE = "write the value that comes out"
ONE_BRANCH = "keep the branch that you use, without the condition"
ENTRIES = "write the entries out"
ADVICE: Mapping[type[ast.AST], tuple[str, str]] = {
    ast.Import: ("imports are not carried out", "write the values that come from there in place of the names"),
    ast.ImportFrom: ("imports are not carried out", "write the values that come from there in place of the names"),
    ast.For: ("loops are not carried out", ENTRIES),
    ast.While: ("loops are not carried out", ENTRIES),
    ast.If: ("conditions are not decided", ONE_BRANCH),
    ast.IfExp: ("conditions are not decided", "write the value of the branch that you use"),
    ast.Compare: ("comparisons are not worked out", "write True or False"),
    ast.BoolOp: ("`and` and `or` are not worked out", VALUE),
    ast.ListComp: ("comprehensions are not carried out", ENTRIES),
    ast.SetComp: ("comprehensions are not carried out", ENTRIES),
    ast.DictComp: ("comprehensions are not carried out", ENTRIES),
    ast.GeneratorExp: ("comprehensions are not carried out", ENTRIES),
    ast.Set: ("sets have no order, and no form in a recipe", "write a list: [...]"),
    ast.JoinedStr: ("f-strings are not filled in", "write the text that comes out, or join texts with +"),
    ast.Lambda: ("functions are not run", VALUE),
    ast.FunctionDef: ("functions are not run", "write the values that it makes"),
    ast.AsyncFunctionDef: ("functions are not run", "write the values that it makes"),
    ast.ClassDef: ("classes are not made", "write the values as dict(...)"),
    ast.With: ("`with` is not carried out", "leave it out: a recipe opens nothing"),
    ast.Try: ("`try` is not carried out", "keep the lines that succeed"),
    ast.Assert: ("assertions are not checked", "leave the line out"),
    ast.Delete: ("`del` is not carried out", "leave out the line that binds the name"),
    ast.Raise: ("`raise` is not carried out", "leave the line out"),
    ast.AugAssign: ("values are not changed after they are bound", "bind the final value once: name = ..."),
    ast.NamedExpr: ("names are bound by lines of their own", "write name = ... above, and the name here"),
    ast.Starred: ("`*` is not carried out", ENTRIES),
    ast.Attribute: ("attributes are not looked up", VALUE),
    ast.Await: ("`await` is not carried out", VALUE),
}
"""Kind of node -> what is not done with it, and what to write instead."""


def advice_on(node: ast.AST) -> tuple[str, str]:
    """What is not done, and what to write instead."""
    if isinstance(node, ast.Call):
        return f"{said(node.func)}(...) is not called", f"{VALUE}; dict, list, tuple, int and float are understood"
    return ADVICE.get(type(node), (f"{said(node)} is not understood", VALUE))


def said(node: ast.AST) -> str:
    """The text of a node, cut short."""
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 3]}..."
