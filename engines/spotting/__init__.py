"""Spotting: where in the stream is an expression?"""
