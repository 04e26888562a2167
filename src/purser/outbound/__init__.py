"""Whom we call: payment providers; knows core and nothing else of ours."""
