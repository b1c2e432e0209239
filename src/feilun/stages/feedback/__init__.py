"""Feedback: ratings, corrections and outcomes → records for the next turn."""

from feilun.stages.feedback.stage import Feedback, FeedbackGiven

__all__ = ["Feedback", "FeedbackGiven"]
