"""Who can teach a small model: a model of this project, one in a folder, a language model."""

from feilun.stages.train.teachers.teacher import Answers, Opinion, Teacher, TeacherDiffers

__all__ = ["Answers", "Opinion", "Teacher", "TeacherDiffers"]
