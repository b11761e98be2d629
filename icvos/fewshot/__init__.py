"""Segmentation of images by supports: COCO-20i, PASCAL-5i and the shift from one to the other, as the field measures them."""
