"""The only interpreter of networks: integer, fused and float steps, and coefficients."""
