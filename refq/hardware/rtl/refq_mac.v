// Multiply and accumulate, one step a clock: load takes the bias, mac adds operand x weight.
// The sum and its overflows are there after the last step (docs/contract.md, section 3).
//   width       bits of the declared accumulator, 0 for an exact one
//   drop        fraction bits that it has fewer than the products
//   EVERY_MAC   1: bias and products are rounded and, but for wrap, the sum limited step by step;
//               0: the finished sum is
//   OVERFLOW, ROUNDING  as in refq_limit, refq_round
// SUM_BITS has to hold the exact sum, and exceed width and the bits of a product by 1.
module refq_mac #(
    parameter OPERAND_BITS = 13,
    parameter WEIGHT_BITS = 14,
    parameter SUM_BITS = 40,
    parameter OVERFLOW = 0,
    parameter ROUNDING = 0,
    parameter EVERY_MAC = 0
) (
    input wire clk,
    input wire load,
    input wire mac,
    input wire signed [OPERAND_BITS-1:0] operand,
    input wire signed [WEIGHT_BITS-1:0] weight,
    input wire signed [SUM_BITS-1:0] bias,
    input wire [6:0] width,
    input wire [7:0] drop,
    output wire signed [SUM_BITS-1:0] sum,
    output wire [31:0] overflows
);
    localparam EACH_ROUNDED = EVERY_MAC;
    localparam EACH_LIMITED = EVERY_MAC != 0 && OVERFLOW != 2;

    reg signed [SUM_BITS-1:0] total;
    reg [31:0] count;

    // an exact product, as wide as the sum
    wire signed [SUM_BITS-1:0] wide_operand = {
        {SUM_BITS - OPERAND_BITS{operand[OPERAND_BITS-1]}}, operand
    };
    wire signed [SUM_BITS-1:0] wide_weight = {
        {SUM_BITS - WEIGHT_BITS{weight[WEIGHT_BITS-1]}}, weight
    };
    wire signed [SUM_BITS-1:0] entering = load ? bias : wide_operand * wide_weight;
    wire signed [SUM_BITS-1:0] held = load ? {SUM_BITS{1'b0}} : total;

    // rounding and limit stand in the loop, or after it
    wire signed [SUM_BITS-1:0] round_in, rounded, limit_in, limited, added;
    wire clipped;
    refq_round #(SUM_BITS, 8, ROUNDING) round (round_in, drop, rounded);
    refq_limit #(SUM_BITS, OVERFLOW) limit (limit_in, width, 1'b1, limited, clipped);
    assign round_in = EACH_ROUNDED != 0 ? entering : total;
    assign added = held + (EACH_ROUNDED != 0 ? rounded : entering);
    assign limit_in = EACH_LIMITED ? added : EACH_ROUNDED != 0 ? total : rounded;

    always @(posedge clk)
        if (load | mac) begin
            total <= EACH_LIMITED ? limited : added;
            count <= (load ? 32'd0 : count) + {31'd0, EACH_LIMITED & clipped};
        end
    assign sum = EACH_LIMITED ? total : limited;
    assign overflows = EACH_LIMITED ? count : {31'd0, clipped};
endmodule
