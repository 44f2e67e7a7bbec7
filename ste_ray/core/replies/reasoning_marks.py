"""What marks the beginning and the end of reasoning in the replies of models, as patterns.

Tags of many names and brackets, headings, reserved tokens, turns, code, and the channels of the
harmony format. All regular expressions here run in linear time.
"""

from __future__ import annotations

import re

NAMES = (
    r"(?:(?!start_|begin_|end_)[a-z]{1,16}[_-]|ant|inner|internal)?(?:think(?:ing)?|thoughts?|reason(?:ing)?|monologue)"
    r"(?:[_-](?:process|steps?|traces?|blocks?|content|text|tags?|\d{1,4}))?"
    r"|(?:self[_-])?reflect(?:ion)?|analysis|scratch_?pad|deliberation|rationale"
    r"|chain[_-]?of[_-]?thoughts?|cot"
)
# ``<think>``, ``<seed:think>``, ``<thinking lang="en">``, ``<|think|>``, ``[THINK]``, ``◁think▷``
OPEN = re.compile(
    rf"<[|｜]?[ ]?(?:[a-z]\w{{0,20}}:)?(?P<xml>{NAMES})(?:[ \t][^<>\n]{{0,80}})?[|｜]?>"
    r"|\[(?P<square>THINK(?:ING)?)\]"
    rf"|◁(?P<triangle>{NAMES})▷"
    rf"|(?P<begin><\|(?:(?:start|begin)_(?:of_)?(?:{NAMES})|(?:{NAMES})_(?:start|begin))\|>)"
    r"|<(?P<details>details)(?:[ \t]+type=[\"']reasoning[\"'][^<>\n]{0,80}>"
    r"|[^<>\n]{0,80}>\s{0,4}<summary>[^<>\n]{0,40}(?:think|thought|reason)[^<>\n]{0,40}</summary>)"
    r"|(?P<turned><\|channel>(?:(?:thought|analysis)\b)?)",
    re.IGNORECASE,
)
CLOSE = re.compile(
    rf"<(?:/[|｜]?|[|｜]/)[ ]?(?:[a-z]\w{{0,20}}:)?(?P<xml>{NAMES})[ ]?[|｜]?>"
    r"|\[/(?P<square>THINK(?:ING)?)\]"
    rf"|◁/(?P<triangle>{NAMES})▷"
    rf"|(?P<begin><\|(?:end_(?:of_)?(?:{NAMES})|(?:{NAMES})_end)\|>)"
    r"|</(?P<details>details)>"
    r"|<(?P<turned>channel)\|>",
    re.IGNORECASE,
)
# What some models put around the answer once they have reasoned.
ANSWER = re.compile(
    r"\s*(?:<(?P<tag>answer|response|output|final|final_answer|solution)>"
    r"|<\|(?:START_|begin_of_)(?P<begin>RESPONSE|solution|answer)\|>"
    r"|\[BEGIN FINAL RESPONSE\])",
    re.IGNORECASE,
)
ANSWER_END = re.compile(
    r"(?:</(?:answer|response|output|final|final_answer|solution)>"
    r"|<\|(?:END_|end_of_)(?:RESPONSE|solution|answer)\|>|\[END FINAL RESPONSE\])\s*\Z",
    re.IGNORECASE,
)
# What stands at the beginning of reasoning and at its end where neither is a tag: headings, as
# Granite, Apriel and medical models write them; reserved tokens; turns and code of that name.
HEADED = re.compile(
    r"Here(?: is|'s) my (?:thought process|reasoning)[ \t]*:"
    r"|Here are my (?:thoughts|reasoning steps)[ \t]*:",
    re.IGNORECASE,
)
HEADED_END = re.compile(
    r"^[ \t]*Here(?: is|'s) my (?:response|answer)[ \t]*:|\[BEGIN FINAL RESPONSE\]",
    re.IGNORECASE | re.MULTILINE,
)
HEADING = re.compile(
    r"(?:#{1,4} |\*\*)(?:thinking|thought process|reasoning|chain of thought)(?: process)?"
    r":?(?:\*\*)?:?[ \t]*\n",
    re.IGNORECASE,
)
HEADING_END = re.compile(
    r"^(?:#{1,4} |\*\*)(?:(?:final )?(?:response|output)|answer|reply):?(?:\*\*)?:?[ \t]*\n",
    re.IGNORECASE | re.MULTILINE,
)
RESERVED = re.compile(r"[<\[]unused\d{1,4}[>\]](?:thought\b)?", re.IGNORECASE)
RESERVED_END = re.compile(r"[<\[]unused\d{1,4}[>\]]", re.IGNORECASE)
TURN = re.compile(r"<\|im_start\|>think\b")
TURN_END = re.compile(r"(?:<\|im_end\|>\s*)?<\|im_start\|>answer\b")
CODE = re.compile(r"```[ \t]*(?:think(?:ing)?|thoughts?|reasoning)[ \t]*\n", re.IGNORECASE)
CODE_END = re.compile(r"^```[ \t]*(?:\n|\Z)", re.MULTILINE)
# The last of each says whether the first means reasoning also where the second is missing.
FRAMES = (
    (HEADED, HEADED_END, False),  # a sentence like any other
    (HEADING, HEADING_END, False),
    (RESERVED, RESERVED_END, True),
    (TURN, TURN_END, True),
    (CODE, CODE_END, True),
)
# The harmony format, whole or as it is left where special tokens were dropped.
HARMONY = re.compile(r"\s*(?:<\|start\|>assistant)?<\|channel\|>", re.IGNORECASE)
CHANNEL = re.compile(
    r"<\|channel\|>(?P<head>[^<]{0,200}+)(?:<\|constrain\|>[^<]{0,200}+)?<\|message\|>"
    r"(?P<body>(?:[^<]++|<(?!\|(?:end|return|call|start|channel)\|>))*+)"
)
BARE_HARMONY = re.compile(r"\s*(?:assistant)?(?:analysis|commentary)(?=(?P<glued>[A-Z])?)")
BARE_FINAL = "assistantfinal"
QUOTES = "`\"'“”‘’"
# What may stand before the first tag: also marks of encodings, what begins a turn where a server
# shows its special tokens, and whose turn it is.
BLANK = re.compile(
    r"(?:[\s\ufeff\u200b-\u200d\u2060]|<s>|<\|(?:im_start|begin_of_text|startoftext)\|>(?!think)"
    r"|assistant:?(?=\s{0,4}<))++",
    re.IGNORECASE,
)
SPECIAL = re.compile(r"<\|(?:start|channel|message|end|return|call|constrain)\|>")
