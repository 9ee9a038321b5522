// A sum to the code of a format: ReLU, shift with rounding, overflow (docs/contract.md, section 1).
//   relu        1: negative sums become 0
//   shift       fraction bits of the sum less those of the code: above 0 right, below 0 left
//   width, is_signed  the code's format; `outside` tells that overflow changed the code
//   OVERFLOW, ROUNDING  as in refq_limit, refq_round
// LEFT is the most places that shift goes left.
module refq_requantize #(
    parameter SUM_BITS = 40,
    parameter LEFT = 0,
    parameter OVERFLOW = 0,
    parameter ROUNDING = 0
) (
    input wire signed [SUM_BITS-1:0] sum,
    input wire relu,
    input wire signed [9:0] shift,
    input wire [6:0] width,
    input wire is_signed,
    output wire signed [32:0] code,
    output wire outside
);
    // holds any sum shifted left, and exceeds the 33 bits of a code
    localparam WIDE_BITS = (SUM_BITS + LEFT > 33 ? SUM_BITS + LEFT : 33) + 1;

    wire signed [SUM_BITS-1:0] positive = (relu & sum[SUM_BITS-1]) ? {SUM_BITS{1'b0}} : sum;
    wire signed [WIDE_BITS-1:0] wide = {
        {WIDE_BITS - SUM_BITS{positive[SUM_BITS-1]}}, positive
    };
    wire [9:0] right = shift[9] ? 10'd0 : shift;
    wire [9:0] left = shift[9] ? -shift : 10'd0;
    wire signed [WIDE_BITS-1:0] raised = wide << left;
    wire signed [WIDE_BITS-1:0] rounded, limited;
    refq_round #(WIDE_BITS, 10, ROUNDING) round (raised, right, rounded);
    refq_limit #(WIDE_BITS, OVERFLOW) limit (rounded, width, is_signed, limited, outside);
    assign code = limited[32:0];
    wire unused = &{limited[WIDE_BITS-1:33]};  // a format's codes have 33 bits at most
endmodule
