// An integer brought into the range of a format (docs/contract.md, section 1).
// OVERFLOW: 0 sat, 1 sat-sym, 2 wrap. width 0 is no limit; BITS has to exceed any other by 1 or more.
module refq_limit #(
    parameter BITS = 40,
    parameter OVERFLOW = 0
) (
    input wire signed [BITS-1:0] x,
    input wire [6:0] width,
    input wire is_signed,
    output wire signed [BITS-1:0] y,
    output wire changed
);
    wire [BITS-1:0] one = {{BITS - 1{1'b0}}, 1'b1};
    wire [BITS-1:0] top = one << (width - {6'd0, is_signed});
    wire signed [BITS-1:0] high = top - one;
    wire signed [BITS-1:0] low = !is_signed ? {BITS{1'b0}} : (OVERFLOW == 1) ? -high : ~high;

    // the low bits, the highest of which stands for -top in a signed format
    wire [BITS-1:0] bits = x & ~({BITS{1'b1}} << width);
    wire signed [BITS-1:0] wrapped = is_signed ? (bits ^ top) - top : bits;
    wire signed [BITS-1:0] clipped = x > high ? high : x < low ? low : x;

    assign y = (width == 7'd0) ? x : (OVERFLOW == 2) ? wrapped : clipped;
    assign changed = y != x;
endmodule
