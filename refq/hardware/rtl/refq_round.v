// A signed number shifted right, rounded by one of the contract's six deterministic rules:
// 0 ties-even, 1 ties-away, 2 ties-pos, 3 to-neg, 4 to-zero, 5 to-pos (docs/contract.md, section 1).
// Shifts beyond the width are right, too: what remains is between -1 and 1 and is rounded so.
module refq_round #(
    parameter BITS = 40,
    parameter SHIFT_BITS = 8,
    parameter ROUNDING = 0
) (
    input wire signed [BITS-1:0] x,
    input wire [SHIFT_BITS-1:0] shift,
    output wire signed [BITS-1:0] y
);
    // the last bit shifted out stays below the point; those after it are known as zero or not
    wire signed [BITS:0] doubled = {x, 1'b0};
    wire signed [BITS:0] shifted = doubled >>> shift;
    wire signed [BITS-1:0] below = shifted[BITS:1];
    wire half = shifted[0];
    wire [BITS:0] out = ~({BITS + 1{1'b1}} << shift);  // bits of `doubled` that were shifted out
    wire rest = |(doubled & out);
    wire negative = x[BITS-1];

    wire up = ROUNDING == 0 ? half & (rest | below[0])
        : ROUNDING == 1 ? half & (rest | ~negative)
        : ROUNDING == 2 ? half
        : ROUNDING == 3 ? 1'b0
        : ROUNDING == 4 ? negative & (half | rest)
        : half | rest;
    assign y = below + $signed({{BITS - 1{1'b0}}, up});
endmodule
