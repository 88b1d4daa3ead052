"""What users write of base images: the target, and the fields of images that are on top of one.

In: values of fields, checked. Out: fields and a target type.
"""
