"""Theorems 2 and 3 on worlds whose shared latents are known: does training find c?"""
