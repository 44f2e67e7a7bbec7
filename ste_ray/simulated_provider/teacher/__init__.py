"""The scripted teacher: a chat endpoint that plays explorer, judge and the like by rules.

It is a script, not a language model, and says so. It sees what a language model would see, the
messages of a request, and knows no tool: it infers what a parameter means from the description and
the JSON Schema in the prompt, guesses, and corrects itself by reading error texts.
"""
