"""The built-in tools: real computations on offline libraries, with the traps that real tools have.

Each module is one family and is described in ``tool_metadata/builtin``. Worker processes import
them, nothing else does. Today is the date in ``STE_TODAY``, never the clock's.
"""
